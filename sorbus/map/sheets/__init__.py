"""Mapping sheets: reading them as people keep them, importing others, and changing them in place."""
