"""MySQL and MariaDB as a source: an initial snapshot, then the binary log."""
