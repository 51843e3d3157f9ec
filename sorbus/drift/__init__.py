"""Schema drift: what a source's tables, columns and JSON fields look like now, against what they looked like before."""
