"""Possible duplicates: a person decides to link, create or merge, and the record is then delivered."""
