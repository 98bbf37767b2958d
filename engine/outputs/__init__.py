"""Writes and publishes the outputs of a run: scores, quarantine, summary and metrics."""
