-- What each source's resources looked like when that was last accepted, and where they differ since then.

create table drift_shape (
    system text not null,
    resource text not null,
    -- [[field, kind], ...] in the source's order
    fields jsonb not null,
    primary key (system, resource)
);

create table drift_finding (
    number bigint generated always as identity primary key,
    system text not null,
    data_type text not null,
    resource text not null,
    field text not null,
    what text not null check (what in ('new', 'missing', 'retyped')),
    was text not null,
    now text not null,
    severity text not null check (severity in ('info', 'held')),
    -- the field that is probably the same under another name
    renamed text not null,
    -- masked, unless the field is mapped and not personal
    example text not null,
    -- what the map made of the field when it was found: another value later says that the map was mended
    mapping text not null,
    count bigint not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    state text not null default 'open' check (state in ('open', 'settled')),
    settled_at timestamptz,
    settled_by text,
    reason text
);

create unique index drift_finding_open on drift_finding (system, data_type, resource, field, what)
    where state = 'open';
