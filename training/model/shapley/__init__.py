"""Exact SHAP values of tree ensembles as tables of effects."""
