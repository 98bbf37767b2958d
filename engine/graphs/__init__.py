"""ONNX files as untrusted bytes: read without the onnx package, and held against what a bundle may hold."""
