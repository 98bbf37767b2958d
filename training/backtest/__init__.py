"""Past scores compared with outcomes: aggregates only."""
