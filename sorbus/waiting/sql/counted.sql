select partition, count from deferral where flow = %(flow)s
