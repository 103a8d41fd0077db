"""Predictors that learn without votes, heads for other models, and making what ships again."""
