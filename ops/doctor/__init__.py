"""`sorbus doctor`: examines everything that a map needs to run, and names the fix of what isn't well."""
