-- What a prepared sheet does not list: its round isn't finished by it alone.

alter table manual_sheet
    -- changes that did not fit
    add column more int not null default 0,
    -- records whose fields could not be made
    add column left_out int not null default 0;
