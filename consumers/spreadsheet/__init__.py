"""Spreadsheets as targets: rows found by key, everything else in the file left as people have it."""
