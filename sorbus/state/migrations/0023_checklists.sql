-- What people do by hand (flows with `manual:`): who ticked which step when, and which rounds are done.

create table checklist (
    flow text primary key,
    schedule text not null,
    -- rounds that were due before are nobody's debt: Sorbus did not know of this schedule yet
    since timestamptz not null default now()
);

-- A round goes by when it must be done; one on demand by when the round before it was done.

create table checklist_tick (
    flow text not null,
    round timestamptz not null,
    step text not null,
    who text not null,
    at timestamptz not null default now(),
    primary key (flow, round, step)
);

create table checklist_round (
    flow text not null,
    round timestamptz not null,
    done_at timestamptz not null default now(),
    done_by text not null,
    -- what the look whether all is right has shown
    verification text not null,
    primary key (flow, round)
);
