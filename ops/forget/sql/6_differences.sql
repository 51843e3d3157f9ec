-- Of flows of other data types the same id is another record. Flows that the map has no longer are nobody's.
update reconcile_difference set fields = '[]', why = ''
where id = %(id)s and flow <> all(%(others)s::text[]) and (fields <> '[]' or why <> '')
