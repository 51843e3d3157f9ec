update manual_sheet_row
   set outcome = %(outcome)s, reason = %(reason)s, answered_at = now(), answered_by = %(who)s
 where sheet = %(sheet)s and row = %(row)s
