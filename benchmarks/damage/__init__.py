"""What damaged models give: seeded variants of small models, each loaded in a process of its own and held to its reference.

`python -m benchmarks.damage` makes and tries them. A variant is its number: the same seed and number make the same files.
"""
