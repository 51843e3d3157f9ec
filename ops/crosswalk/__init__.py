"""Looking into the crosswalk, and bringing in pairs that people know."""
