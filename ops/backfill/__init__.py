"""Reading a data type of a running source again, beside its stream of changes."""
