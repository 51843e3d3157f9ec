"""PostgreSQL for producers and consumers: connecting, its errors as Sorbus's, its catalog."""
