"""Which values of a record are personal, and how they are kept out of pages and logs (docs/privacy.md)."""
