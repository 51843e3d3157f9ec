-- Opens a session, and sweeps up those that have ended by themselves.
with swept as (
    delete from console_session
    where made_at < now() - %(longest)s * interval '1 second' or seen_at < now() - %(idle)s * interval '1 second'
), noted as (
    update console_account set login_at = now() where name = %(account)s
)
insert into console_session (hash, account) values (%(hash)s, %(account)s)
