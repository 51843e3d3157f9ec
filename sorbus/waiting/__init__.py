"""Deferred records: they can't be delivered yet, and are retried automatically."""
