update manual_sheet set closed_at = now() where flow = %(flow)s and closed_at is null
