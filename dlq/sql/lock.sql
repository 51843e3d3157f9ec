select next, rebuilding_since from letter_position
where topic = %(topic)s and partition = %(partition)s
for update
