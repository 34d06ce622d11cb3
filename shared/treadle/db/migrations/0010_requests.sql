-- Requests for runs that name themselves: whatever comes a second time under the same name makes no second run.
--
-- The row is the truth about that, and is written in the transaction that makes the run: there is never one without
-- the other. It holds ids only, and so outlives its run.

create table treadle.request (
    -- Who asks: the last token of `treadle.requests.<source>`.
    source      text        not null,
    message_id  text        not null,
    -- The run that was made, and its thread; both may be gone by now.
    run_id      uuid        not null,
    thread_id   uuid        not null,
    accepted_at timestamptz not null default clock_timestamp(),
    primary key (source, message_id)
);
-- In the order in which they are forgotten.
create index request_age on treadle.request (accepted_at);

-- Outcome: those of create_run, `assistant_changed`, and `repeated`: the ids are those of the run that the request
-- made at first, and `run` is that run if it is still there.
create type treadle.request_result as (
    outcome   text,
    cancelled jsonb,
    run       treadle.run,
    run_id    uuid,
    thread_id uuid
);

-- Accept a run at its first request. Two of the same name at once: the insert of the second waits for the first's end,
-- and the statement after it sees what came of it. A run that is refused leaves no row.
-- Lock order: the request, the thread, its runs. Nobody who holds a thread asks for a request.
create function treadle.create_run_once(
    p_source text, p_message text,
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb,
    p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision
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
    select made.outcome, made.cancelled, made.run into v_made
      from treadle.current_assistant(p_assistant, p_revision) as a (assistant_id),
           lateral treadle.bring_thread(p_thread, p_thread_metadata, p_ttl_strategy, p_ttl_minutes) as t (thread_id),
           lateral treadle.create_run(
               p_run, t.thread_id, a.assistant_id, p_graph, p_kwargs, p_metadata, p_strategy, p_if_not_exists,
               p_delay, p_route, p_stateless, p_thread_metadata, p_thread_config) as made;
    if v_made.outcome is distinct from 'created' then
        delete from treadle.request where source = p_source and message_id = p_message;
    end if;
    return row(coalesce(v_made.outcome, 'assistant_changed'), coalesce(v_made.cancelled, '[]'::jsonb), v_made.run,
               p_run, p_thread)::treadle.request_result;
end $$;
