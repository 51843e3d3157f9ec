-- What was written to spreadsheets: a sheet has no place for a version that people's sorting and copying would leave alone.

create table spreadsheet_record (
    system text not null,
    -- the file in its folder, and the sheet of a workbook
    sheet text not null,
    data_type text not null,
    id text not null,
    -- the last one written; a deleted record leaves its own behind, so that a late event can't bring it back
    version bigint not null,
    -- what identifies the row in the sheet's key column; null when the record was deleted
    key text,
    primary key (system, sheet, data_type, id)
);

create index spreadsheet_record_key on spreadsheet_record (system, sheet, key);
