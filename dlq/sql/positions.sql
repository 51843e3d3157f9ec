select topic, partition, next, topic_id, read_at, rebuilding_since
from letter_position
where topic = any(%(topics)s)
