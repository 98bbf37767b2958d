"""What a candidate must pass to take the place of the bundle in force, one module a kind of gate."""
