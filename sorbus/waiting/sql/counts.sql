select flow, why, count(*) from waiting group by flow, why
