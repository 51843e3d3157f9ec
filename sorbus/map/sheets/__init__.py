"""Mapping sheets: reading, importing, and editing them in place."""
