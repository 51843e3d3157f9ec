update duplicate_decisions set reason = ''
where reason <> '' and candidate in (
    select number from duplicate_candidates where data_type = %(data_type)s and id = %(id)s
)
