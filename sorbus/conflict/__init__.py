"""Conflicts: a target's field that was edited there, although another system owns it."""
