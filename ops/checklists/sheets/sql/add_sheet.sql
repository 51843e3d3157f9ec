insert into manual_sheet (code, flow, round, prepared_by, owner_figures, more, left_out)
values (%(code)s, %(flow)s, %(round)s, %(who)s, %(figures)s, %(more)s, %(left_out)s)
on conflict (code) do nothing
returning sheet, prepared_at
