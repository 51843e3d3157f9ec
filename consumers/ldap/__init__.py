"""Directories as targets: entries matched before they are added, changed value by value, renamed, members kept."""
