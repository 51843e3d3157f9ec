"""Sorbus's own PostgreSQL: what has to be remembered beside the topics."""
