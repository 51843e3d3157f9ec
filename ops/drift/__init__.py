"""`sorbus drift`: what has changed in the sources, and what people say about it."""
