"""A MariaDB for these tests."""

from tests.mariadb import mariadb, mariadb_server

__all__ = ["mariadb", "mariadb_server"]
