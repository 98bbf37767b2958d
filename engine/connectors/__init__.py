"""Other systems: databases through ADBC, and Spark."""
