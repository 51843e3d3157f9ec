insert into linked_account (system, account) values (%(system)s, %(account)s)
on conflict (system) do update set account = excluded.account
