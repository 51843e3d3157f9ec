-- Accounting (MariaDB): debtors and bank entries are older than Sorbus; it makes the invoices' tables.
create table debtors (
    debtor_no integer primary key, account varchar(20) not null, name varchar(80) not null, email varchar(200),
    country char(2), terms integer not null, blocked tinyint(1) not null
);
create table bank_entries (
    entry_no varchar(20) primary key, debtor_no integer not null, booked_on date not null, amount decimal(12, 2) not null, currency char(3) not null,
    reference varchar(200) not null
);
create table bank_allocations (
    entry_no varchar(20) not null, line_no integer not null, invoice_no varchar(40) not null,
    amount decimal(12, 2) not null, primary key (entry_no, line_no)
);
