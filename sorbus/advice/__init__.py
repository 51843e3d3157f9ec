"""`sorbus map advise`: what a flow's measured changes, failures and use say about its timing."""
