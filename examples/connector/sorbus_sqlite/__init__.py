"""SQLite files as systems of Sorbus: each record a JSON object in the table `records`."""
