"""Topics that Debezium writes as sources: whatever it captures, Sorbus reads from there."""
