"""Webhooks of kind `webhook`: records posted to Sorbus, and changes that Sorbus posts."""
