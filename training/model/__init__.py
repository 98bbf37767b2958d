"""The purchase model: search, trees, calibration, and its exact SHAP values."""
