"""Scores, quarantine, summary and metrics of a run: where they go, how they are written and published."""
