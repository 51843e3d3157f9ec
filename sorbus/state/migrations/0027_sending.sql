-- What updates were about to send when we last heard of them: {field: [values]}, gone once one of them is noted as
-- sent. A value that is found there is our own, whatever `sent` says.
alter table crosswalk add column sending json;
