select code from manual_sheet where flow = %(flow)s and code = any(%(codes)s)
