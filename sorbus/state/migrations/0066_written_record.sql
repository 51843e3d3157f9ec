-- What was written to targets that have no place for a version: spreadsheets, topics, directories.

alter table spreadsheet_record rename to written_record;
alter table written_record rename column sheet to place;
alter index spreadsheet_record_key rename to written_record_key;
comment on column written_record.place is 'within the system: a file and its sheet, a topic';
comment on column written_record.key is 'what the record is found by there; null when it was deleted';
