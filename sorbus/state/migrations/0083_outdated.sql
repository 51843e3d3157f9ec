-- What is found by its age, to be deleted after a while, and the last comparison of each flow among many.

create index letter_closed on letter (state_at) where state in ('landed', 'superseded', 'discarded');

drop index conflict_overwritten;
create index conflict_closed on conflict (changed_at) where state in ('over', 'overwritten');

create index reconcile_run_age on reconcile_run (finished_at);
create index reconcile_run_whole on reconcile_run (flow, number desc) where method <> 'changed';

create index history_run_age on history_run (seen_at);
