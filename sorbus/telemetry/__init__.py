"""A running process's logs, metrics, health and stop signals."""
