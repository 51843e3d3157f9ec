select data_type, resource, ids
  from drift_finding
 where system = %(system)s and what = 'deleted' and state = 'settled' and settled_by <> 'sorbus' and ids <> '{}'
