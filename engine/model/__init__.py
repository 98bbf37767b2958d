"""Predictions: ONNX Runtime sessions, the columns of the score file, conformance."""
