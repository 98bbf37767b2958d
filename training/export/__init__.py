"""Fitted parts to ONNX graphs, one module for each, and the bundle that holds them."""
