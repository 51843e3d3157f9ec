-- Which application a system's links are of, and whose account in it: in another one the same ids are other records.
create table linked_account (
    system text primary key,
    account text not null
);
