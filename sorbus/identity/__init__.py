"""Which record of one system is which record of another: crosswalk, matching, duplicate candidates."""
