-- The row stays: its version says what the system has shown. Merged records of deleted records hold nothing.
update system_view set frame = null
where data_type = %(data_type)s and id = %(id)s and frame is not null
