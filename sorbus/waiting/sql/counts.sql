select flow, why, count(*), min(since) from waiting group by flow, why
