"""Drift: what has changed in the sources, and settling it."""
