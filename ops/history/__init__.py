"""The history of producers and consumers for people: `sorbus history`, the timeline of the console."""
