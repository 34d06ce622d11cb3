-- API keys: what proves over HTTP who asks, with nothing beside this database.

create table treadle.api_key (
    -- Public: it stands in the key itself, and in lists.
    id           text        primary key,
    name         text,
    -- SHA-256 of the whole key, which is never stored. A slow hash is for what people think of: nobody can guess through the
    -- 256 random bits of a key however fast the hash is, and a slow one would be paid with every request.
    hash         bytea       not null check (length(hash) = 32),
    -- In whose name a request with this key is made, and what it may do.
    tenant       text        not null default 'default',
    identity     text        not null,
    permissions  text[]      not null,
    created_at   timestamptz not null default clock_timestamp(),
    expires_at   timestamptz,
    -- A key that was revoked stays: whoever finds one later can see whose it was.
    revoked_at   timestamptz,
    -- About: written once a minute at the most.
    last_used_at timestamptz
);
