"""The parts of a bundle, opened and checked: schema, manifest, graphs, playbook, reference."""
