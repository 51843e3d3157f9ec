"""`sorbus webhook`: secrets, test events, and what was posted."""
