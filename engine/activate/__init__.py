"""From scores to a campaign: who is contacted, in which arm, and what the sender is given."""
