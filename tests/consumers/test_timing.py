"""A flow with a timing, quiet hours and holidays: a real consumer process whose clock the test sets.

What a change waits for is computed by an independent calendar: pandas' business days with holidays, minute by minute.
"""
