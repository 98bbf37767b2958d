"""A bundle as a folder that a model server loads. Start with `export`; a module for each server."""
