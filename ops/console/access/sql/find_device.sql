select 1
from console_device
where hash = %(hash)s and account = %(account)s and made_at > now() - %(longest)s * interval '1 second'
