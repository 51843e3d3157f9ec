"""Spreadsheet files for both sides: where they are, whether they are at rest, and what their cells hold."""
