"""Schema drift: how a source's tables, columns and JSON fields differ from what they were."""
