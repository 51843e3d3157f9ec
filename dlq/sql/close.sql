-- A source's letter that somebody has sent back lands by a new state of its record.
with closed as (
    update letter
    set state = case
            when %(how)s = 'requeued' then 'landed'
            when %(how)s = 'superseded' and flow = '' and state in ('requeueing', 'requeued') then 'landed'
            when %(how)s = 'superseded' then 'superseded'
            else 'discarded'
        end,
        state_at = %(at)s, superseded_by = %(by)s, frame = null, header_names = '{}', header_values = '{}'
    where id = %(id)s and state in ('open', 'requeueing', 'requeued')
    returning id, state, data_type, record_id, superseded_by
), mended as (
    update letter_edit set frame = null from closed where letter_edit.id = closed.id and frame is not null
)
select id, state, data_type, record_id, superseded_by from closed
