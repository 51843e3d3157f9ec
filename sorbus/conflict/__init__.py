"""Conflicts: a field of a target that somebody changed there by hand, although another system owns it."""
