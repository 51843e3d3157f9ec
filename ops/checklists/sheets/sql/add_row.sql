insert into manual_sheet_row (sheet, row, data_type, id, change, before, after)
values (%(sheet)s, %(row)s, %(data_type)s, %(id)s, %(change)s, %(before)s, %(after)s)
