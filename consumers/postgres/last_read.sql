select count(*), extract(epoch from max(greatest(last_seq_scan, last_idx_scan)))::float8,
       coalesce((select extract(epoch from stats_reset)::float8 from pg_stat_database
                 where datname = current_database()), 0)
from pg_stat_user_tables
where schemaname || '.' || relname = any(%(tables)s)
