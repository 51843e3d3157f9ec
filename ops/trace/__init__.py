"""One record's trace: everything that is known of it, in order of time, and what each target has of it now."""
