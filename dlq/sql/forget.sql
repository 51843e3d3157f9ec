with edited as (delete from letter_edit where id = %(id)s), assigned as (delete from letter_assignment where id = %(id)s)
delete from letter where id = %(id)s
