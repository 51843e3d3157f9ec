"""Spreadsheets as systems of record: read when a file has changed, and compared with what is published."""
