"""PostgreSQL, SQLite and DuckDB through ADBC: `queries` reads users, `tables` writes scores."""
