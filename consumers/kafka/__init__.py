"""Topics for other consumers: Kafka Connect sinks, and whatever reads what a Debezium writes."""
