"""`sorbus pause`, `resume` and `sync`: people tell a flow when to deliver."""
