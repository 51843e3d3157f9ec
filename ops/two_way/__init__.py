"""`sorbus two-way`: how the records of a two-way data type's systems are joined, before anything is written."""
