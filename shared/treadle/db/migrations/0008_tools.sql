-- Assistants as tools of the Model Context Protocol: what an assistant's name becomes as a tool's name. The
-- protocol allows 128 characters, of which nine are kept for telling assistants of the same name apart.

create function treadle.tool_name(name text) returns text language sql immutable strict parallel safe as $$
    select left(regexp_replace(name, '[^a-zA-Z0-9_-]+', '_', 'g'), 119)
$$;

create index assistant_tool on treadle.assistant (treadle.tool_name(name));

-- Runs that are tasks of the Agent-to-Agent protocol, or parts of one.
create index run_a2a on treadle.run (assistant_id, seq desc) where metadata ? 'a2a';
