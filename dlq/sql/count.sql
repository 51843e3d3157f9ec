select count(*) from letter l left join letter_assignment a on a.id = l.id where {conditions}
