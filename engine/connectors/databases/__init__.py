"""PostgreSQL, SQLite and DuckDB through ADBC: `queries` read users, `tables` receive scores."""
