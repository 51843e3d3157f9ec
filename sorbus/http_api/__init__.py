"""Applications behind HTTP: how one is described, and how it is talked to."""
