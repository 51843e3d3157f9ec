"""Duplicate candidates: what a person decides, and the records that are then sent at once."""
