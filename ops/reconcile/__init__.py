"""Reconciliation: proves that a target agrees with its owner, and says what differs and why."""
