"""Other loads than the peers' table: wide rows, large values, a backlog, a kill, an HTTP target, growth."""
