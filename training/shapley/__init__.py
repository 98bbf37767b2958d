"""Exact Shapley values of a LightGBM model, as few terms."""
