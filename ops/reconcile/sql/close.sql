-- Open differences that this run looked for and didn't find. `among`: the records that it looked at; null: all.
update reconcile_difference
set closed_at = %(at)s
where flow = %(flow)s and closed_at is null and last_run < %(run)s
    and (%(among)s::text[] is null or id = any(%(among)s::text[]))
