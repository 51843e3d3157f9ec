insert into digest_sent (address, due) values (%(address)s, %(due)s) on conflict do nothing
