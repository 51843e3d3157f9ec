insert into history_window (run, data_type, began_at, ended_at, captured, created, updated, linked, deleted, written,
                            skipped, refused, deferred, filtered, bytes, seconds)
values (%(run)s, %(data_type)s, to_timestamp(%(began)s), to_timestamp(%(ended)s), %(captured)s, %(created)s,
        %(updated)s, %(linked)s, %(deleted)s, %(written)s, %(skipped)s, %(refused)s, %(deferred)s,
        %(filtered)s, %(bytes)s, %(seconds)s)
on conflict (run, data_type, began_at) do nothing
