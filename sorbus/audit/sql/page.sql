select number, at, who, action, subject_kind, subject, data_type, record, reason, details, part_of
from audit
where {conditions}
order by number desc
limit %(most)s
