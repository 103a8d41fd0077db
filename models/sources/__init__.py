"""Where a model's files lie, who it is, and what its files hold: read before anything is computed with them."""
