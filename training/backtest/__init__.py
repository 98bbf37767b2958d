"""How past scores did against what happened: aggregates only."""
