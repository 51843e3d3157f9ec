"""What a running process tells about itself: logs, metrics, health, and how it hears that it should stop."""
