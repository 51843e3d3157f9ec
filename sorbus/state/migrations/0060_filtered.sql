-- Events outside of a flow's `where`.

alter table history_window add column filtered bigint not null default 0;

create or replace view flow_history as
select r.activity, r.subject, w.data_type, w.run, w.began_at, w.ended_at, w.captured,
       w.created, w.updated, w.linked, w.deleted, w.written, w.skipped, w.refused, w.deferred, w.bytes, w.seconds,
       w.filtered
from history_window w join history_run r using (run);
