"""Avro binary (specification 1.12) as small functions, one per type, chosen once per schema and then only called."""
