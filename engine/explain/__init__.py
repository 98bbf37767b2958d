"""Answers questions about scores and inputs: drift, one user, a bundle, a rejected file."""
