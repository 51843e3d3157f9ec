"""When something runs: schedules, working days, quiet hours; one grammar for flows, reconciliation and checklists."""
