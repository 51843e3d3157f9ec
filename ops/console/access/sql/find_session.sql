-- Who has this session, if it lasts still. It is kept awake by people, not by pages that fetch what has changed.
with found as (
    select session.hash, session.seen_at, account.name, account.role
    from console_session session
    join console_account account on account.name = session.account
    where session.hash = %(hash)s
        and not account.disabled
        and session.made_at > now() - %(longest)s * interval '1 second'
        and session.seen_at > now() - %(idle)s * interval '1 second'
), woken as (
    update console_session session
    set seen_at = now()
    from found
    where session.hash = found.hash and %(by_person)s and found.seen_at < now() - interval '30 seconds'
)
select name, role from found
