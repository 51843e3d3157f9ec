select pg_advisory_xact_lock(hashtextextended('manual sync ' || %(flow)s, 0))
