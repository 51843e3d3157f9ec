"""Kafka and the schema registry, as the producers' and consumers' loops use them."""
