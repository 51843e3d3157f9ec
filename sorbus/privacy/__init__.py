"""What is personal in a record, and how it is kept out of what people and logs see (docs/privacy.md)."""
