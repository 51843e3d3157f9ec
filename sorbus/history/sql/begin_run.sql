insert into history_run (run, activity, subject, instance, began_at, seen_at, ended_at)
values (%(run)s, %(activity)s, %(subject)s, %(instance)s, to_timestamp(%(began)s), to_timestamp(%(seen)s),
        to_timestamp(%(ended)s))
on conflict (run) do update set seen_at = excluded.seen_at, ended_at = excluded.ended_at
