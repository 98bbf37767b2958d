"""What is learned from data, one module for each fitted part."""
