"""Makes bundles: simulates users, fits models, exports them to ONNX, checks and promotes them."""
