insert into audit (who, action, subject_kind, subject, data_type, record, reason, details, part_of)
select whole.who, whole.action, %(subject_kind)s, part.subject, part.data_type, part.record, whole.reason, '{}',
    whole.number
from audit whole
    cross join unnest(%(subjects)s::text[], %(data_types)s::text[], %(records)s::text[])
        as part (subject, data_type, record)
where whole.number = %(whole)s
