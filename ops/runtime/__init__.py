"""Running a whole map on one machine, and bringing Kafka, registry and systems to what the map says."""
