"""A company's year, run in minutes: nine systems, their people, faults, and a ledger that checks every month's end."""
