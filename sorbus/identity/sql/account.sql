select
    (select account from linked_account where system = %(system)s),
    (select count(*) from crosswalk where system = %(system)s and state in ('linked', 'intended'))
