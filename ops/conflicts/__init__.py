"""Conflicts: what a person decides, and the records that go on at once."""
