"""How good a bundle is: metrics of its test part, leakage, a quality band."""
