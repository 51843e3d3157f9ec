-- Records that look deleted and are too many to believe it are a finding too; a person who settles it confirms.

alter table drift_finding drop constraint drift_finding_what_check;
alter table drift_finding add constraint drift_finding_what_check
    check (what in ('new', 'missing', 'retyped', 'deleted'));
-- which records; emptied once they have been dealt with
alter table drift_finding add column ids text[] not null default '{}';
