"""LDAP directories for both sides: connecting, schema, values, entries as records."""
