-- Notes a browser, and sweeps up those of long ago.
with swept as (
    delete from console_device where made_at < now() - %(longest)s * interval '1 second'
)
insert into console_device (hash, account) values (%(hash)s, %(account)s)
