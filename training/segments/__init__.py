"""Customer segments: feature space, KMeans, their lineage over refits, names and profiles."""
