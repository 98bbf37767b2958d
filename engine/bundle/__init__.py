"""What a bundle holds, opened and checked: schema, manifest, graphs, playbook, reference."""
