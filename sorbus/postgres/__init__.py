"""What producers and consumers both need of PostgreSQL: connecting, its errors in our terms, its catalog."""
