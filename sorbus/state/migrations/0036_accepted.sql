-- A creation that the application has accepted without saying as which record (202, no id): it is never sent again, but
-- looked for. `accepted_as` is what its answer named, a record or a job.
alter table crosswalk add column accepted_at timestamptz;
alter table crosswalk add column accepted_as text;
