"""ONNX files as untrusted bytes: read without the onnx package, and compared with what a bundle may have."""
