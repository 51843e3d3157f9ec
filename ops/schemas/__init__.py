"""`sorbus schemas`: the canonical schemas of a map against those that are in use."""
