"""Avro binary (specification 1.12): one small function per type, selected once per schema."""
