-- Tenants: each row has one, and whoever asks sees the rows of its own.
--
-- A scope is what a request may see: a tenant (null: of all, for the services themselves), and what the metadata of a row
-- have to be like (null: whatever). A row outside of it is, for whoever asks, not there. The tenant of a row never changes.
-- A run is its thread's tenant's. (It has no column for that: what names the columns of a run, in answers of functions, is remembered
-- by each connection of the version before.)

-- The tables in the order in which whoever makes a run comes to them, so that nobody waits in a circle.
alter table treadle.cron add column tenant text not null default 'default';
-- For whom the runs of a cron are made: what their config says of the user.
alter table treadle.cron add column asking json;
-- The default assistants of graphs are of the default tenant, and everybody may use them.
alter table treadle.assistant add column tenant text not null default 'default';
alter table treadle.assistant add column shared boolean not null default false;
alter table treadle.thread add column tenant text not null default 'default';

-- Whether metadata are as a scope wants them: an array of [key, operator, value]. `eq`: the value is this one; `contains`: it is
-- a list that has all of these.
create function treadle.passes(p_metadata jsonb, p_filter jsonb) returns boolean
immutable parallel safe language sql as $$
    select coalesce(bool_and(coalesce(
               case f ->> 1
                   when 'eq' then p_metadata -> (f ->> 0) = f -> 2
                   when 'contains' then jsonb_typeof(p_metadata -> (f ->> 0)) = 'array'
                                        and p_metadata -> (f ->> 0) @> (f -> 2)
               end, false)), true)
      from jsonb_array_elements(p_filter) as f
$$;

-- Whether a row is within a scope.
create function treadle.sees(p_tenant text, p_filter jsonb, p_of text, p_metadata jsonb) returns boolean
immutable parallel safe language sql as $$
    select (p_tenant is null or p_of = p_tenant) and (p_filter is null or treadle.passes(p_metadata, p_filter))
$$;

-- Lock a thread that is within a scope; no row: there is none. What a statement joins laterally to this is done only then.
create function treadle.hold_thread(p_thread uuid, p_tenant text, p_filter jsonb) returns setof uuid
language sql as $$
    select thread_id from treadle.thread
     where thread_id = p_thread and treadle.sees(p_tenant, p_filter, tenant, metadata)
       for no key update
$$;

-- As in 0003, and everybody may use it.
create or replace function treadle.register_assistant(p_id uuid, p_graph text, p_description text)
returns void language plpgsql as $$
declare
    v_assistant treadle.assistant;
begin
    insert into treadle.assistant (assistant_id, graph_id, name, description, metadata, shared)
    values (p_id, p_graph, p_graph, p_description, '{"created_by": "system"}', true)
    on conflict (assistant_id) do nothing;
    select * into v_assistant from treadle.assistant where assistant_id = p_id for no key update;
    if not v_assistant.shared then
        update treadle.assistant set shared = true where assistant_id = p_id;
    end if;
    if v_assistant.version = 1 and v_assistant.description is distinct from p_description then
        update treadle.assistant set description = p_description, revision = gen_random_uuid()
         where assistant_id = p_id returning * into v_assistant;
    end if;
    if v_assistant.version = 1 then
        perform treadle.keep_version(v_assistant);
    end if;
end $$;

-- As in 0003, in a tenant. No row: the id is taken.
create function treadle.create_assistant(
    p_id uuid, p_graph text, p_name text, p_description text, p_config jsonb, p_context jsonb, p_metadata jsonb,
    p_tenant text
) returns setof treadle.assistant language plpgsql as $$
declare
    v_assistant treadle.assistant;
begin
    insert into treadle.assistant
           (assistant_id, graph_id, name, description, config, context, metadata, created_at, updated_at, tenant)
    values (p_id, p_graph, p_name, p_description, p_config, p_context, p_metadata, now(), now(), p_tenant)
    on conflict (assistant_id) do nothing returning * into v_assistant;
    if found then
        perform treadle.keep_version(v_assistant);
        return next v_assistant;
    end if;
end $$;

-- Accept a run within a scope: on a thread that is within it, or on one that comes with the run and is of the scope's tenant.
-- Outcome: those of create_run, and `assistant_changed`: it is not what the caller remembers, by its revision.
create function treadle.create_run(
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision,
    p_tenant text, p_filter jsonb
) returns treadle.create_result language plpgsql as $$
begin
    if p_revision is not null
       and not exists (select from treadle.assistant where assistant_id = p_assistant and revision = p_revision) then
        return row('assistant_changed', '[]'::jsonb, null)::treadle.create_result;
    end if;
    if p_stateless or p_if_not_exists = 'create' then
        insert into treadle.thread (thread_id, stateless, metadata, ttl_strategy, ttl_minutes, tenant)
        values (p_thread, p_stateless, p_thread_metadata, p_ttl_strategy, p_ttl_minutes, coalesce(p_tenant, 'default'))
        on conflict (thread_id) do nothing;
    end if;
    perform treadle.hold_thread(p_thread, p_tenant, p_filter);
    if not found then
        return row('thread_not_found', '[]'::jsonb, null)::treadle.create_result;
    end if;
    return treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy, 'reject',
                              p_delay, p_route, false, p_thread_metadata, p_thread_config);
end $$;

-- As in 0019, within a scope.
create function treadle.create_run_beside(
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid, p_tenant text, p_filter jsonb
) returns treadle.create_result language plpgsql as $$
begin
    if not p_stateless then
        perform from treadle.thread where thread_id = p_thread for no key update skip locked;
        if not found and (p_if_not_exists = 'create'
                          or exists (select from treadle.thread where thread_id = p_thread)) then
            return row('locked', '[]'::jsonb, null)::treadle.create_result;
        end if;
    end if;
    return treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy,
                              case when p_stateless then p_if_not_exists else 'reject' end,
                              p_delay, p_route, p_stateless, p_thread_metadata, p_thread_config, p_revision,
                              null, null, p_tenant, p_filter);
end $$;

-- As in 0010, within a scope.
create function treadle.create_run_once(
    p_source text, p_message text,
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb,
    p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision, p_tenant text, p_filter jsonb
) returns treadle.request_result language plpgsql as $$
declare
    v_first treadle.request;
    v_run   treadle.run;
    v_made  treadle.create_result;
begin
    loop
        insert into treadle.request (source, message_id, run_id, thread_id)
        values (p_source, p_message, p_run, p_thread) on conflict do nothing;
        exit when found;
        select * into v_first from treadle.request where source = p_source and message_id = p_message;
        if found then
            select * into v_run from treadle.run where run_id = v_first.run_id;
            return row('repeated', '[]'::jsonb, v_run, v_first.run_id, v_first.thread_id)::treadle.request_result;
        end if;
        -- It was forgotten between the two statements.
    end loop;
    v_made := treadle.create_run(
        p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy, p_if_not_exists, p_delay, p_route,
        p_stateless, p_thread_metadata, p_thread_config, p_revision, p_ttl_strategy, p_ttl_minutes, p_tenant, p_filter);
    if v_made.outcome <> 'created' then
        delete from treadle.request where source = p_source and message_id = p_message;
    end if;
    return row(v_made.outcome, v_made.cancelled, v_made.run, p_run, p_thread)::treadle.request_result;
end $$;

-- As in 0016, in the cron's tenant.
create function treadle.make_tick(
    p_cron uuid, p_seen timestamptz, p_updated timestamptz, p_scheduled timestamptz, p_next timestamptz, p_error text,
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision,
    p_tenant text, p_filter jsonb,
    out outcome text, out cancelled jsonb
) language plpgsql as $$
declare
    v_made treadle.create_result;
begin
    cancelled := '[]';
    perform from treadle.cron
      where cron_id = p_cron and enabled and next_run_date = p_seen and updated_at = p_updated
        for no key update skip locked;
    if not found then
        outcome := 'moved';
        return;
    end if;
    if p_if_not_exists = 'reject' then
        perform from treadle.thread where thread_id = p_thread for no key update skip locked;
        if not found then
            outcome := 'moved';
            return;
        end if;
    end if;
    if p_error is null then
        perform from treadle.current_assistant(p_assistant, p_revision);
        if not found then
            outcome := 'assistant_changed';
            return;
        end if;
    end if;
    update treadle.cron set next_run_date = p_next where cron_id = p_cron;
    insert into treadle.tick (cron_id, scheduled_for, run_id, thread_id, error)
    values (p_cron, p_scheduled, p_run, p_thread, p_error) on conflict do nothing;
    if not found then
        outcome := 'moved';
        return;
    elsif p_error is not null then
        outcome := 'refused';
        return;
    end if;
    v_made := treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy,
                                 p_if_not_exists, p_delay, p_route, p_stateless, p_thread_metadata, p_thread_config,
                                 p_revision, p_ttl_strategy, p_ttl_minutes, p_tenant, p_filter);
    outcome := v_made.outcome;
    cancelled := v_made.cancelled;
    if outcome <> 'created' then
        update treadle.tick
           set run_id = null,
               error = case outcome when 'busy' then 'The thread was busy, and the multitask strategy is `reject`.'
                                    when 'answered' then 'The question has been answered by another run.'
                                    else 'The thread is gone.' end
         where cron_id = p_cron and scheduled_for = p_scheduled;
    end if;
end $$;
