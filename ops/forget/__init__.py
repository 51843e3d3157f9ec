"""Erasing one record everywhere, with a receipt (GDPR, article 17)."""
