delete from manual_sheet_row where data_type = %(data_type)s and id = %(id)s
