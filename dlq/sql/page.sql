select l.id, l.data_type, l.system, l.flow, l.reason, l.message, l.field, l.rule, l.words, l.topic, l.partition,
    l."offset", l.attempts, l.first_at, l.last_at, l.record_id, l.frame, l.header_names, l.header_values, l.version,
    l.cause, l.state, l.state_at, l.superseded_by, coalesce(a.person, ''),
    exists (select from letter_edit e where e.id = l.id), l.key
from letter l left join letter_assignment a on a.id = l.id
where {conditions}
order by l.first_at, l.id
limit %(most)s
{lock}
