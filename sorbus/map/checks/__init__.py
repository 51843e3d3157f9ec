"""The checks of `sorbus map check`, one module per subject."""
