-- From the topic's beginning: the first time, or once more.
insert into letter_position (topic, partition, next, topic_id, rebuilding_since)
values (%(topic)s, %(partition)s, 0, %(topic_id)s, clock_timestamp())
on conflict (topic, partition) do update
set next = 0, topic_id = excluded.topic_id, read_at = clock_timestamp(), rebuilding_since = clock_timestamp()
