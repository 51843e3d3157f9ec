-- One letter as it was read. That of a requeue under way may be read once more: it stays on its way then, and as it was edited.
insert into letter as known (
    id, key, data_type, system, flow, reason, message, field, rule, words, topic, partition, "offset", attempts,
    first_at, last_at, record_id, version, cause, state, state_at, frame, header_names, header_values
)
values (
    %(id)s, %(key)s, %(data_type)s, %(system)s, %(flow)s, %(reason)s, %(message)s, %(field)s, %(rule)s, %(words)s,
    %(topic)s, %(partition)s, %(offset)s, %(attempts)s, %(first_at)s, %(last_at)s, %(record_id)s, %(version)s,
    %(cause)s, 'open', %(last_at)s, %(frame)s, %(header_names)s, %(header_values)s
)
on conflict (id) do update
set key = excluded.key, data_type = excluded.data_type, system = excluded.system, flow = excluded.flow,
    reason = excluded.reason, message = excluded.message, field = excluded.field, rule = excluded.rule,
    words = excluded.words, topic = excluded.topic, partition = excluded.partition, "offset" = excluded."offset",
    attempts = excluded.attempts, first_at = excluded.first_at, last_at = excluded.last_at,
    record_id = excluded.record_id, version = excluded.version, cause = excluded.cause, superseded_by = null,
    frame = case
        when known.state in ('requeueing', 'requeued')
            and (excluded.attempts, excluded.last_at) <= (known.attempts, known.last_at) then known.frame
        else excluded.frame
    end,
    header_names = case
        when known.state in ('requeueing', 'requeued')
            and (excluded.attempts, excluded.last_at) <= (known.attempts, known.last_at) then known.header_names
        else excluded.header_names
    end,
    header_values = case
        when known.state in ('requeueing', 'requeued')
            and (excluded.attempts, excluded.last_at) <= (known.attempts, known.last_at) then known.header_values
        else excluded.header_values
    end,
    read_at = clock_timestamp(),
    state = case
        when known.state in ('requeueing', 'requeued')
            and (excluded.attempts, excluded.last_at) <= (known.attempts, known.last_at) then known.state
        else 'open'
    end,
    state_at = case
        when known.state in ('requeueing', 'requeued')
            and (excluded.attempts, excluded.last_at) <= (known.attempts, known.last_at) then known.state_at
        else excluded.state_at
    end
