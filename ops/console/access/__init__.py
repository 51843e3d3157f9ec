"""Who may enter the console, and what everybody else is told."""
