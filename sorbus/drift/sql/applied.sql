update drift_finding set ids = '{}'
 where system = %(system)s and data_type = %(data_type)s and resource = %(resource)s
   and what = 'deleted' and state = 'settled' and ids <> '{}'
