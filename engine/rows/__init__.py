"""Raw rows to model inputs: types, rules, duplicates, features."""
