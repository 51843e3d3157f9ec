select l.first_at, l.id
from letter l left join letter_assignment a on a.id = l.id
where {conditions}
order by l.first_at desc, l.id desc
limit 1
