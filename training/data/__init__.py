"""Labelled users: loading, splitting, folds."""
