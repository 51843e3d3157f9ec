with kept as (
    insert into letter_edit (id, who, fields, frame)
    select id, %(who)s, %(fields)s, frame from letter
    where id = %(id)s and state = 'open' and frame is not distinct from %(before)s::bytea
    returning id
)
update letter set frame = %(frame)s, header_names = %(names)s, header_values = %(values)s, state = 'requeueing', state_at = clock_timestamp()
from kept where letter.id = kept.id
