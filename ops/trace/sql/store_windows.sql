with gone as (
    delete from key_filter
    where topic = %(topic)s
      and (topic_id <> %(topic_id)s or partition = %(partition)s and number < %(begin)s)
)
insert into key_filter (topic, topic_id, partition, number, filter)
select %(topic)s, %(topic_id)s, %(partition)s, one.number, one.filter
from unnest(%(numbers)s::integer[], %(filters)s::bytea[]) as one (number, filter)
on conflict do nothing
