"""Flows that people do by hand: what is due when, who did it, and the verification."""
