-- A server's version, clock and how much of what it can give is in use.
select current_setting('server_version_num')::int,
       current_setting('server_version'),
       extract(epoch from clock_timestamp())::float8,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       (select count(*) from pg_stat_activity where backend_type = 'client backend')::int,
       current_setting('max_replication_slots')::int,
       (select count(*) from pg_replication_slots)::int,
       current_setting('max_wal_senders')::int,
       (select count(*) from pg_stat_replication)::int
