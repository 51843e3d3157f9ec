-- Why a record differs, for programs (`Cause` in ops/reconcile/finding.py); `why` is for people.

alter table reconcile_difference add column cause text not null default 'unexplained';

update reconcile_difference
set cause = case
    when why like 'dead letter %' then 'dead_letter'
    when why like 'waiting record%' then 'waiting'
    when why like 'the producer of %' then 'producer_behind'
    when why like 'flow %' then 'flow_behind'
    else 'foreign'
end
where why like any (array['dead letter %', 'waiting record%', 'the producer of %', 'flow %', 'Sorbus never wrote it%']);

alter table reconcile_difference alter column cause drop default;
