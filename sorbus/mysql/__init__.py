"""MySQL and MariaDB for both sides: connecting, errors, catalog, and how values are read."""
