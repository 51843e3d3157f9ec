"""What is measured, against whom: Sorbus, the tuned Debezium chain and plain Python's ceiling, in one run."""
