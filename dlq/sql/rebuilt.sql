update letter_position set rebuilding_since = null where topic = %(topic)s and partition = %(partition)s
