"""The same scorer inside other engines, one module each."""
