"""Deferred records: retried automatically; people fill in what they lack."""
