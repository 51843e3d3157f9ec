update drift_finding set ids = array_remove(ids, %(id)s), example = ''
 where data_type = %(data_type)s and %(id)s = any (ids)
