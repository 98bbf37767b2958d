"""Exports fitted models to ONNX graphs, one module each, and to the bundle that holds them."""
