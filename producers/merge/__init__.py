"""The owner of data types that several systems change: it merges what they propose, field by field."""
