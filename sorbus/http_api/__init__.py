"""HTTP API systems: how an application is described, and how Sorbus calls it."""
