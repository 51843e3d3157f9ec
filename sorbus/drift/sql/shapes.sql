select resource, fields from drift_shape where system = %s
