"""The demo company: a CRM that changes at a steady pace, and two databases that Sorbus keeps up to date with it."""
