"""Sorbus, the System-Of-Record bus: keeps a company's tools telling the same story."""

__version__ = "0.1.0"
