-- The OAuth2 tokens of each system that has them. The database is trusted with them as it is with all of the state.

create table token (
    system text primary key,
    -- hash of what the map gives; other tokens than those that began with it are not used
    seed text not null,
    access_token text not null,
    refresh_token text,
    -- null: it lasts until the system refuses it
    expires_at timestamptz,
    obtained_at timestamptz not null
);
