"""Delta Lake and Iceberg: scores as a new version of a table."""
