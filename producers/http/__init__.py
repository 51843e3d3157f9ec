"""Applications behind HTTP as systems of record: polled, and told by webhooks what to look at first."""
