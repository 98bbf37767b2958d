"""Score against segments: measured on the same users, and explained in words.

`strategies` turns model and segments into scores. `figures`, with `paired` and `stability`, measures
them. `evidence` decides which differences count, and `answers` says what follows.
"""
