-- Approvals: whose a thread is, who answered which question, and what.

-- Whoever made it, where that had to be proved.
alter table treadle.thread add column owner text;

-- What was answered, or refused. Rows outlive the runs and threads that they are about.
create table treadle.audit (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    -- `updated`: a state was changed from outside while questions waited, which leads past them.
    action      text not null check (action in ('answered', 'updated', 'refused')),
    tenant      text not null,
    -- Null: nobody had to say who it is.
    identity    text,
    roles       json,
    permissions json,
    thread_id   uuid not null,
    run_id      uuid,
    graph_id    text,
    -- Those that waited, by task, as the thread has them; and the command or the values as they came.
    questions   jsonb not null,
    answer      json
);
create index audit_of_time on treadle.audit (at);

-- What a run says of whoever asked for it, if that was proved. Nothing can be read out of what has a NUL: it is taken for a space.
create function treadle.asked_by(p_kwargs json) returns json immutable language plpgsql as $$
declare
    v_kwargs json;
begin
    if position('"authenticated":true' in p_kwargs::text) = 0 then
        return null;
    end if;
    v_kwargs := replace(p_kwargs::text, '\u0000', '\u0020');
    if (v_kwargs -> 'authenticated')::text = 'true' then
        return v_kwargs #> '{config,configurable,langgraph_auth_user}';
    end if;
    return null;
end $$;

-- The command of a run that goes on from where its thread stopped, if it is one.
create function treadle.command_of(p_kwargs json) returns json immutable language plpgsql as $$
begin
    if position('"command":{' in p_kwargs::text) = 0 then
        return null;
    end if;
    return replace(p_kwargs::text, '\u0000', '\u0020')::json -> 'command';
end $$;

-- As in 0023; a thread that comes with the run is its sender's, and an answer is recorded.
create or replace function treadle.create_run(
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision,
    p_tenant text, p_filter jsonb
) returns treadle.create_result language plpgsql as $$
declare
    v_made    treadle.create_result;
    v_command json;
begin
    if p_revision is not null
       and not exists (select from treadle.assistant where assistant_id = p_assistant and revision = p_revision) then
        return row('assistant_changed', '[]'::jsonb, null)::treadle.create_result;
    end if;
    if p_stateless or p_if_not_exists = 'create' then
        insert into treadle.thread (thread_id, stateless, metadata, ttl_strategy, ttl_minutes, tenant, owner)
        values (p_thread, p_stateless, p_thread_metadata, p_ttl_strategy, p_ttl_minutes, coalesce(p_tenant, 'default'),
                treadle.asked_by(p_kwargs) ->> 'identity')
        on conflict (thread_id) do nothing;
    end if;
    perform treadle.hold_thread(p_thread, p_tenant, p_filter);
    if not found then
        return row('thread_not_found', '[]'::jsonb, null)::treadle.create_result;
    end if;
    v_made := treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy, 'reject',
                                 p_delay, p_route, false, p_thread_metadata, p_thread_config);
    v_command := treadle.command_of(p_kwargs);
    if v_made.outcome = 'created' and json_typeof(v_command) = 'object' then
        insert into treadle.audit (action, tenant, identity, roles, permissions, thread_id, run_id, graph_id, questions, answer)
        select 'answered', t.tenant, asked ->> 'identity', asked -> 'roles', asked -> 'permissions',
               p_thread, p_run, p_graph, t.interrupts, v_command
          from treadle.thread t cross join lateral (select treadle.asked_by(p_kwargs) as asked) as by
         where t.thread_id = p_thread
           and (t.interrupts <> '{}' or coalesce(json_typeof(v_command -> 'resume'), 'null') <> 'null');
    end if;
    return v_made;
end $$;
