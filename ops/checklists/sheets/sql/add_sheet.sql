insert into manual_sheet (code, flow, round, prepared_by, owner_figures)
values (%(code)s, %(flow)s, %(round)s, %(who)s, %(figures)s)
on conflict (code) do nothing
returning sheet, prepared_at
