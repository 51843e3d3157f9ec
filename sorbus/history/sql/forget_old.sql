with old as (
    delete from history_window where began_at < now() - make_interval(days => %(days)s)
)
delete from history_run where seen_at < now() - make_interval(days => %(days)s)
