"""What `sorbus map check` finds, one module a subject."""
