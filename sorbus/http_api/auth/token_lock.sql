-- Held to the end of the transaction: whoever has it is the only one to renew this system's tokens.
select pg_advisory_xact_lock(hashtextextended('sorbus token ' || current_schema() || ' ' || %(system)s, 0))
