"""Heads beside their opponents: score tables, folds, intervals, reports and cards."""
