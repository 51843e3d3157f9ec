"""Alerts that reach people: who is told of what, written for Alertmanager out of the map."""
