-- What applications of two-way flows made of it.
delete from own_state where data_type = %(data_type)s and id = %(id)s
