"""Mapping rules: small expressions that turn one system's values into another's."""
