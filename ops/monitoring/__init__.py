"""Measuring from outside: how far each flow is, seen at Kafka and in the sources, so that a dead consumer shows too."""
