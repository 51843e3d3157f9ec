"""Conflicts: fields that people changed in a system that doesn't own them; a person decides which value wins."""
