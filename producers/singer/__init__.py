"""Singer taps as sources: programs that write a system's records, and where they have got to, as lines of JSON."""
