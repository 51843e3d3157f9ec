"""What producers and consumers have done, in windows of a minute, in Sorbus's database."""
