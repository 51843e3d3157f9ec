"""Flows that people do by hand: what is due when, who did it, and that it was seen to be right."""
