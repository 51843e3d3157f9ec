update manual_record set check_again = true where flow = %(flow)s and id = %(id)s and fields is not null returning id
