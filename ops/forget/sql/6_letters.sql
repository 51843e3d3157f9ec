-- Not those of a delete that a target refuses: it is still to be delivered.
with gone as (
    delete from letter where data_type = %(data_type)s and record_id = %(key)s and id <> all(%(refused)s::text[])
    returning id
), edits as (
    delete from letter_edit using gone where letter_edit.id = gone.id
), assignments as (
    delete from letter_assignment using gone where letter_assignment.id = gone.id
)
select id from gone
