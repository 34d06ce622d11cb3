-- What acts once: a put into the store of the attempt that has the run, an answer to a question.

-- What the node of a run puts into the store is fenced as its checkpoints are, in the transaction of the put: hold the run for
-- an attempt that wants to write, so that a takeover waits until the write has committed; raise if it has lost the right to.
--
-- A run that has ended as `success` was ended by its newest attempt itself: what it left to be written after its end (memories
-- that are formed in the background, say) may be. Any other end may be another's doing.
create function treadle.hold_attempt(p_run uuid, p_attempt int) returns void language plpgsql as $$
begin
    perform from treadle.run
      where run_id = p_run and attempt = p_attempt and status in ('running', 'success') for share;
    if not found then
        raise exception 'attempt % of run % may write no more', p_attempt, p_run using errcode = 'TR001';
    end if;
end $$;

-- The answer, or the answers by the ids of their questions, that a run brings to its thread; null: none. As in `webhook_of`,
-- most kwargs need not be parsed, and NUL is read as a space.
create function treadle.answers_of(p_kwargs json) returns json immutable language plpgsql as $$
declare
    v_answers json;
begin
    if position('"resume":' in p_kwargs::text) = 0 then
        return null;
    end if;
    v_answers := replace(p_kwargs::text, '\u0000', '\u0020')::json -> 'command' -> 'resume';
    return case when json_typeof(v_answers) <> 'null' then v_answers end;
end $$;

-- The questions that are answered by id; null: the answer is for whatever is asked. Ids are as langgraph makes them.
create function treadle.questions_of(p_answers json) returns text[] immutable language sql as $$
    select case when json_typeof(p_answers) = 'object' then (
        select case when bool_and(id ~ '^[0-9a-f]{32}$') then array_agg(id) end
          from json_object_keys(p_answers) as id) end
$$;

-- Whether somebody else has been quicker to answer; the caller holds the thread's lock.
--
-- An answer that waits behind another one was given to the same question, and would be taken for the answer to the next
-- one, which nobody has seen yet. So it is refused; not so where both name their questions, and these differ, or where the
-- other one is being cancelled. Whoever names the run that asked (`asked_by`) answers only while none has begun after it; one
-- that was cancelled before it began has left the question as it was.
create function treadle.answered(p_thread uuid, p_kwargs json, p_strategy text) returns boolean language plpgsql as $$
declare
    v_answers json := treadle.answers_of(p_kwargs);
    v_ids     text[] := treadle.questions_of(v_answers);
    v_asked   text;
begin
    if v_answers is null then
        return false;
    elsif p_strategy = 'reject' then
        v_asked := replace(p_kwargs::text, '\u0000', '\u0020')::json ->> 'asked_by';
        return v_asked is not null and v_asked is distinct from (
            select run_id::text from treadle.run where thread_id = p_thread and started_at is not null
             order by created_at desc, seq desc limit 1);
    end if;
    return exists (
        select from (select treadle.answers_of(kwargs) as answers from treadle.run
                      where thread_id = p_thread and status in ('pending', 'running') and cancel_action is null) as other
         where other.answers is not null
           and (v_ids is null or treadle.questions_of(other.answers) is null
                or v_ids && treadle.questions_of(other.answers)));
end $$;

-- As in 0002, and `answered`: somebody has been quicker to answer. Runs on a thread at rest cost no statement more, unless
-- their strategy is `reject`.
create or replace function treadle.create_run(
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb
) returns treadle.create_result language plpgsql as $$
declare
    v_run       treadle.run;
    v_other     treadle.run;
    v_cancel    treadle.cancel_result;
    v_cancelled jsonb := '[]';
    v_status    text;
begin
    if p_stateless or p_if_not_exists = 'create' then
        insert into treadle.thread (thread_id, stateless, metadata)
        values (p_thread, p_stateless, p_thread_metadata)
        on conflict (thread_id) do nothing;
    end if;
    select status into v_status from treadle.thread
     where thread_id = p_thread and gone_at is null for no key update;
    if not found then
        return row('thread_not_found', v_cancelled, null)::treadle.create_result;
    end if;
    if p_strategy = 'reject' and exists (
        select from treadle.run where thread_id = p_thread and status in ('pending', 'running')
    ) then
        return row('busy', v_cancelled, null)::treadle.create_result;
    end if;
    if (p_strategy = 'reject' or p_strategy = 'enqueue' and v_status = 'busy')
       and treadle.answered(p_thread, p_kwargs, p_strategy) then
        return row('answered', v_cancelled, null)::treadle.create_result;
    end if;
    if p_strategy in ('interrupt', 'rollback') then
        for v_other in
            select * from treadle.run
             where thread_id = p_thread and status in ('pending', 'running') order by seq for update
        loop
            v_cancel := treadle.cancel_locked(v_other, p_strategy);
            v_cancelled := v_cancelled || jsonb_build_object(
                'run_id', v_other.run_id, 'outcome', v_cancel.outcome, 'status', v_cancel.status,
                'attempt', v_cancel.attempt);
        end loop;
    end if;
    insert into treadle.run (run_id, thread_id, assistant_id, graph_id, multitask_strategy, metadata, kwargs,
                             route, not_before, created_at, updated_at)
    values (p_run, p_thread, p_assistant, p_graph, p_strategy, p_metadata, p_kwargs,
            p_route, clock_timestamp() + p_delay, clock_timestamp(), clock_timestamp())
    returning * into v_run;
    update treadle.thread
       set status = 'busy', updated_at = clock_timestamp(),
           metadata = metadata || p_thread_metadata, config = p_thread_config
     where thread_id = p_thread;
    return row('created', v_cancelled, v_run)::treadle.create_result;
end $$;

-- As in 0009; a run may be `answered` besides, which is written down in the tick.
create or replace function treadle.make_tick(
    p_cron uuid, p_seen timestamptz, p_updated timestamptz, p_scheduled timestamptz, p_next timestamptz, p_error text,
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision,
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
    perform treadle.bring_thread(p_thread, p_thread_metadata, p_ttl_strategy, p_ttl_minutes);
    v_made := treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy,
                                 p_if_not_exists, p_delay, p_route, p_stateless, p_thread_metadata, p_thread_config);
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
