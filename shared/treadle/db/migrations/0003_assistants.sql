-- Assistants of clients' own: versions, and what tells a process that what it remembers of one is out of date.

-- Changes with every change of the row, and is never the same again, not even after removal and a new start under
-- the same id. Processes remember assistants by it; see `Runs.create`.
alter table treadle.assistant add column revision uuid not null default gen_random_uuid();
create index assistant_metadata on treadle.assistant using gin (metadata jsonb_path_ops);
create index assistant_newest on treadle.assistant (created_at desc, assistant_id);

create table treadle.assistant_version (
    assistant_id uuid        not null references treadle.assistant on delete cascade,
    version      int         not null,
    graph_id     text        not null,
    name         text        not null,
    description  text,
    config       jsonb       not null,
    context      jsonb       not null,
    metadata     jsonb       not null,
    created_at   timestamptz not null,
    primary key (assistant_id, version)
);

-- Keep what an assistant is now as the version whose number it bears.
create function treadle.keep_version(p_assistant treadle.assistant) returns void language sql as $$
    insert into treadle.assistant_version
           (assistant_id, version, graph_id, name, description, config, context, metadata, created_at)
    values (p_assistant.assistant_id, p_assistant.version, p_assistant.graph_id, p_assistant.name,
            p_assistant.description, p_assistant.config, p_assistant.context, p_assistant.metadata,
            p_assistant.updated_at)
    on conflict (assistant_id, version) do update set description = excluded.description
     where assistant_version.description is distinct from excluded.description;
$$;
select treadle.keep_version(a) from treadle.assistant a;

-- Give a graph its default assistant. The description follows langgraph.json until somebody changes the assistant.
create function treadle.register_assistant(p_id uuid, p_graph text, p_description text)
returns void language plpgsql as $$
declare
    v_assistant treadle.assistant;
begin
    insert into treadle.assistant (assistant_id, graph_id, name, description, metadata)
    values (p_id, p_graph, p_graph, p_description, '{"created_by": "system"}')
    on conflict (assistant_id) do nothing;
    select * into v_assistant from treadle.assistant where assistant_id = p_id for no key update;
    if v_assistant.version = 1 and v_assistant.description is distinct from p_description then
        update treadle.assistant set description = p_description, revision = gen_random_uuid()
         where assistant_id = p_id returning * into v_assistant;
    end if;
    if v_assistant.version = 1 then
        perform treadle.keep_version(v_assistant);
    end if;
end $$;

-- No row: the id is taken.
create function treadle.create_assistant(
    p_id uuid, p_graph text, p_name text, p_description text, p_config jsonb, p_context jsonb, p_metadata jsonb
) returns setof treadle.assistant language plpgsql as $$
declare
    v_assistant treadle.assistant;
begin
    insert into treadle.assistant
           (assistant_id, graph_id, name, description, config, context, metadata, created_at, updated_at)
    values (p_id, p_graph, p_name, p_description, p_config, p_context, p_metadata, now(), now())
    on conflict (assistant_id) do nothing returning * into v_assistant;
    if found then
        perform treadle.keep_version(v_assistant);
        return next v_assistant;
    end if;
end $$;

-- Make a new version. Null: as it is; metadata are merged; a context without a config stands for the config too.
-- The row is locked before its versions are counted: two changes at once make two versions.
create function treadle.patch_assistant(
    p_id uuid, p_graph text, p_name text, p_description text, p_config jsonb, p_context jsonb, p_metadata jsonb
) returns setof treadle.assistant language plpgsql as $$
declare
    v_assistant treadle.assistant;
begin
    perform from treadle.assistant where assistant_id = p_id for no key update;
    if not found then
        return;
    end if;
    update treadle.assistant
       set graph_id = coalesce(p_graph, graph_id), name = coalesce(p_name, name),
           description = coalesce(p_description, description), config = coalesce(p_config, config),
           context = coalesce(p_context, context), metadata = metadata || coalesce(p_metadata, '{}'),
           version = (select max(version) + 1 from treadle.assistant_version where assistant_id = p_id),
           revision = gen_random_uuid(), updated_at = clock_timestamp()
     where assistant_id = p_id returning * into v_assistant;
    perform treadle.keep_version(v_assistant);
    return next v_assistant;
end $$;

-- Make an assistant again what it was at a version. No row: there is no such version.
create function treadle.set_latest(p_id uuid, p_version int)
returns setof treadle.assistant language sql as $$
    update treadle.assistant a
       set graph_id = v.graph_id, name = v.name, description = v.description, config = v.config,
           context = v.context, metadata = v.metadata, version = v.version,
           revision = gen_random_uuid(), updated_at = clock_timestamp()
      from treadle.assistant_version v
     where a.assistant_id = p_id and v.assistant_id = p_id and v.version = p_version
    returning a.*;
$$;

-- The id of an assistant if it still is what the caller remembers; no row if it has changed or is gone.
-- A revision of null: the caller does not mind. What a caller joins laterally to this row is done only then.
create function treadle.current_assistant(p_id uuid, p_revision uuid) returns setof uuid stable language plpgsql as $$
begin
    if p_revision is null
       or exists (select from treadle.assistant where assistant_id = p_id and revision = p_revision) then
        return next p_id;
    end if;
end $$;
