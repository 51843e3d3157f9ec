delete from checklist_tick where flow = %(flow)s and round = %(round)s and step = %(step)s returning who
