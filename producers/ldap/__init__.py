"""Directories as systems of record: polled by modify time, and told of changes by content synchronization."""
