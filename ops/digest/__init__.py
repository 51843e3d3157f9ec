"""The daily digest: what needs each owner's attention, what is new, and what has been settled."""
