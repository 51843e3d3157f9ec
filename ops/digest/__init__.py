"""The daily digest: what waits for each owner, what is new, and what has been settled."""
