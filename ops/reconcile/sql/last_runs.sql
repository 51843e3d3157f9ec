select distinct on (flow) flow, finished_at, not_compared <> '[]' or undecided > 0, coverage
from reconcile_run
order by flow, number desc
