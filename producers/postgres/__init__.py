"""Capture from PostgreSQL by logical replication (pgoutput), with a consistent initial snapshot."""
