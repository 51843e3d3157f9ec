-- Pages of those that wait, the longest first.
create index waiting_by_age on waiting (since, flow, key);
