"""Webhooks as targets: each record's change is posted, signed, in order."""
