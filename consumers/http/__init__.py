"""Applications behind HTTP as targets: create, update and delete records there, each of ours once."""
