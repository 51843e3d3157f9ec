select partition, number,
       get_bit(filter, %(first)s) = 1 and get_bit(filter, %(second)s) = 1
from key_filter
where topic_id = %(topic_id)s and partition = any (%(partitions)s)
