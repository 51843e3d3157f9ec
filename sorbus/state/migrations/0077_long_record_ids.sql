-- A record's id may be longer than what fits into a B-tree (2.7 KB): its letter is read, and what is done about it noted.

drop index letter_by_record;
create index letter_by_record on letter using hash (record_id);

drop index audit_subject;
create index audit_subject on audit using hash (subject);

drop index audit_record;
create index audit_record on audit using hash (record) where record <> '';

-- A difference that is open is known by its flow and its record, of whatever length its id is.
drop index reconcile_difference_open;
create unique index reconcile_difference_open on reconcile_difference (flow, md5(id)) where closed_at is null;
