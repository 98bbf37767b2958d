"""Supervised against unsupervised, measured and said in words.

`ways` turns model and segments into scores; `figures`, with `paired` and `stability`, measures them on
the same users; `evidence` says which differences count, `answers` what follows from them.
"""
