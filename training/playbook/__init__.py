"""The playbook of a bundle: `rules` from TOML, and the `document` with a row for each segment and band."""
