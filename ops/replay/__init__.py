"""Replaying a topic into one flow's target."""
