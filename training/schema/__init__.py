"""A first draft of a schema.toml from any table; start at `draft`."""
