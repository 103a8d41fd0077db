"""How far votes get: simulated voters, learners, and how often people agree."""
