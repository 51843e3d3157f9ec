-- Records that can't be delivered yet: the newest state of each, whole, until it lands or is obsolete.

create table waiting (
    flow text not null,
    key bytea not null,
    version bigint not null,
    data_type text not null,
    system text not null,
    why text not null check (why in ('reference', 'incomplete')),
    -- [[data type, id], ...] that must be linked in `system` before; or [[field, ""], ...] that the record lacks
    needs jsonb not null,
    message text not null,
    -- the event as it came; no frame: a tombstone
    frame bytea,
    header_names text[] not null,
    header_values bytea[] not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    since timestamptz not null,
    until timestamptz,
    -- is to be tried whatever it needs: the flow was started anew, perhaps with another map
    woken boolean not null default false,
    -- not before: whoever took it to try it has it until then
    next_at timestamptz not null,
    primary key (flow, key)
);
