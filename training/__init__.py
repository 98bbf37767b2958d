"""Making bundles: users simulated, models fitted, exported to ONNX, checked and promoted."""
