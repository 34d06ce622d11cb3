-- The run protocol: create, claim, finish, hand back, cancel. Each function is one round trip.
--
-- Lock order: the thread's row first, then its runs. Everything that decides what a thread does next holds the
-- thread's row lock, and looks for runs in a statement that begins after it has that lock: plpgsql gives each
-- statement a new snapshot, so a run committed a moment before is seen. (One big CTE would not see it.)
--
-- Invariant: a run that is pending and due, on a thread where no run holds a live lease, has a wake-up on its
-- way; or the thread is held by a worker that will look for it when its present run ends.

create type treadle.claim_result as (
    outcome  text,              -- claimed | leased | idle | fenced
    retry_in double precision,  -- seconds until the live lease ends, for `leased`
    ended    jsonb,             -- [{run_id, attempt, status}] of runs that ended here
    run      treadle.run        -- the claimed run
);

-- Take away everything that a run did to its thread's checkpoints, and the run.
create function treadle.roll_back(p_thread uuid, p_run uuid) returns void language plpgsql as $$
declare
    v_thread text := p_thread::text;
begin
    delete from checkpoint_writes w
     using checkpoints c
     where w.thread_id = v_thread and c.thread_id = v_thread
       and w.checkpoint_ns = c.checkpoint_ns and w.checkpoint_id = c.checkpoint_id
       and c.metadata ->> 'run_id' = p_run::text;
    delete from checkpoint_writes where thread_id = v_thread and treadle_run_id = p_run;
    delete from checkpoints where thread_id = v_thread and metadata ->> 'run_id' = p_run::text;
    delete from checkpoint_blobs b
     where b.thread_id = v_thread
       and not exists (
           select from checkpoints c
            where c.thread_id = b.thread_id and c.checkpoint_ns = b.checkpoint_ns
              and c.checkpoint -> 'channel_versions' ->> b.channel = b.version);
    delete from treadle.run where run_id = p_run;
end $$;

-- What a thread with no run in work shows: busy while runs wait, else how it came to rest.
-- `p_resting` null: the run that ended left no mark, and the thread rests as it did before.
create function treadle.settle(p_thread uuid, p_resting text) returns void language sql as $$
    update treadle.thread t
       set status = case when waiting.runs then 'busy' else coalesce(p_resting, t.resting) end,
           resting = coalesce(p_resting, t.resting),
           updated_at = clock_timestamp(),
           gone_at = case when t.stateless and not waiting.runs then clock_timestamp() else t.gone_at end
      from (select exists (select from treadle.run
                            where thread_id = p_thread and status in ('pending', 'running'))) as waiting (runs)
     where t.thread_id = p_thread;
$$;

-- End a run whose thread is locked. A cancel that was accepted before wins over any other outcome.
-- Returns the status it ended with, `rolled_back` when nothing of it is left.
create function treadle.end_run(p_run treadle.run, p_status text, p_output json, p_error json)
returns text language plpgsql as $$
declare
    v_status text := case p_run.cancel_action when 'interrupt' then 'interrupted' else p_status end;
begin
    if p_run.cancel_action = 'rollback' then
        perform treadle.roll_back(p_run.thread_id, p_run.run_id);
        return 'rolled_back';
    end if;
    update treadle.run
       set status = v_status, output = p_output, error = p_error,
           ended_at = clock_timestamp(), updated_at = clock_timestamp()
     where run_id = p_run.run_id;
    delete from treadle.lease where run_id = p_run.run_id;
    return v_status;
end $$;

-- Give the thread's next run to a worker. The caller holds the thread's lock.
create function treadle.claim_next(p_thread uuid, p_worker text, p_lease interval, p_max_crashes int)
returns treadle.claim_result language plpgsql as $$
declare
    v_run    treadle.run;
    v_until  timestamptz;
    v_ended  jsonb := '[]';
    v_status text;
    v_error  json;
begin
    loop
        select * into v_run from treadle.run where thread_id = p_thread and status = 'running';
        if not found then
            select * into v_run from treadle.run
             where thread_id = p_thread and status = 'pending'
               and (not_before is null or not_before <= clock_timestamp())
             order by seq limit 1;
            if not found then
                return row('idle', null, v_ended, null)::treadle.claim_result;
            end if;
            update treadle.run
               set status = 'running', attempt = attempt + 1, updated_at = clock_timestamp(),
                   started_at = coalesce(started_at, clock_timestamp())
             where run_id = v_run.run_id returning * into v_run;
            insert into treadle.lease (run_id, attempt, worker, lease_until)
            values (v_run.run_id, v_run.attempt, p_worker, clock_timestamp() + p_lease);
            return row('claimed', null, v_ended, v_run)::treadle.claim_result;
        end if;

        select lease_until into v_until from treadle.lease where run_id = v_run.run_id;
        if v_until > clock_timestamp() then
            return row('leased', extract(epoch from v_until - clock_timestamp()), v_ended, null)
                   ::treadle.claim_result;
        end if;

        -- The lease is dead: its worker crashed, hangs, or is cut off.
        if v_run.cancel_action is not null or v_run.crashes + 1 >= p_max_crashes then
            if v_run.cancel_action is null then
                insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason, kwargs)
                values (v_run.run_id, v_run.thread_id, v_run.graph_id, v_run.attempt,
                        format('worker lost %s times', v_run.crashes + 1), v_run.kwargs);
            end if;
            v_error := json_build_object(
                'error', 'WorkerLost',
                'message', format('The run was given up: its worker died or fell silent %s times '
                                  '(BG_JOB_MAX_RETRIES). Its last checkpoint is kept.', v_run.crashes + 1));
            v_status := treadle.end_run(
                v_run, 'error', null, case when v_run.cancel_action is null then v_error end);
            if v_status = 'error' then
                update treadle.thread set error = v_error::jsonb where thread_id = p_thread;
            end if;
            perform treadle.settle(p_thread, case v_status when 'error' then 'error' end);
            v_ended := v_ended || jsonb_build_object(
                'run_id', v_run.run_id, 'attempt', v_run.attempt, 'status', v_status);
            continue;
        end if;

        -- A heartbeat may revive the lease between the look above and this statement: then it stands.
        insert into treadle.lease as l (run_id, attempt, worker, lease_until)
        values (v_run.run_id, v_run.attempt + 1, p_worker, clock_timestamp() + p_lease)
        on conflict (run_id) do update
           set attempt = excluded.attempt, worker = excluded.worker, lease_until = excluded.lease_until
         where l.lease_until <= clock_timestamp();
        if found then
            update treadle.run
               set attempt = attempt + 1, crashes = crashes + 1, updated_at = clock_timestamp()
             where run_id = v_run.run_id returning * into v_run;
            return row('claimed', null, v_ended, v_run)::treadle.claim_result;
        end if;
    end loop;
end $$;

-- A wake-up says: look at this thread.
create function treadle.claim(p_thread uuid, p_worker text, p_lease interval, p_max_crashes int)
returns treadle.claim_result language plpgsql as $$
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    if not found then
        return row('idle', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    return treadle.claim_next(p_thread, p_worker, p_lease, p_max_crashes);
end $$;

-- Write a run's outcome and claim the thread's next run, in one transaction.
-- `p_values` and `p_interrupts` null: the thread keeps what it has. `p_resting`: how the thread rests after it.
create function treadle.finish(
    p_thread uuid, p_run uuid, p_attempt int, p_status text, p_output json, p_error json,
    p_values jsonb, p_interrupts jsonb, p_resting text,
    p_worker text, p_lease interval, p_max_crashes int, p_claim_next boolean
) returns treadle.claim_result language plpgsql as $$
declare
    v_run    treadle.run;
    v_status text;
    v_ended  jsonb;
    v_result treadle.claim_result;
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    select * into v_run from treadle.run
     where run_id = p_run and attempt = p_attempt and status = 'running' for update;
    if not found then
        return row('fenced', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    v_status := treadle.end_run(v_run, p_status, p_output, p_error);
    v_ended := jsonb_build_array(jsonb_build_object(
        'run_id', p_run, 'attempt', p_attempt, 'status', v_status));
    if v_status <> 'rolled_back' then
        update treadle.thread
           set "values" = coalesce(p_values, "values"),
               interrupts = coalesce(p_interrupts, interrupts),
               error = p_error::jsonb,
               state_updated_at = case when p_values is null then state_updated_at else clock_timestamp() end
         where thread_id = p_thread;
    end if;
    if p_claim_next then
        v_result := treadle.claim_next(p_thread, p_worker, p_lease, p_max_crashes);
    else
        v_result := row('idle', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    perform treadle.settle(p_thread, case when v_status <> 'rolled_back' then p_resting end);
    v_result.ended := v_ended || v_result.ended;
    return v_result;
end $$;

-- A worker that shuts down gives its run back: pending again, at its old place, no attempt used up.
-- Returns the ended runs when a cancel was waiting, else null; `fenced` when the run is not this attempt's.
create function treadle.hand_back(p_thread uuid, p_run uuid, p_attempt int)
returns treadle.claim_result language plpgsql as $$
declare
    v_run    treadle.run;
    v_status text;
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    select * into v_run from treadle.run
     where run_id = p_run and attempt = p_attempt and status = 'running' for update;
    if not found then
        return row('fenced', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    if v_run.cancel_action is not null then
        v_status := treadle.end_run(v_run, 'interrupted', null, null);
        perform treadle.settle(p_thread, null);
        return row('idle', null, jsonb_build_array(jsonb_build_object(
            'run_id', p_run, 'attempt', p_attempt, 'status', v_status)), null)::treadle.claim_result;
    end if;
    update treadle.run set status = 'pending', updated_at = clock_timestamp() where run_id = p_run;
    delete from treadle.lease where run_id = p_run;
    return row('idle', null, '[]'::jsonb, null)::treadle.claim_result;
end $$;

-- Cancel one run. Outcome: ended (it was pending), signalled (its worker must stop it), finished, not_found.
create type treadle.cancel_result as (outcome text, status text, attempt int);

create function treadle.cancel_locked(p_run treadle.run, p_action text)
returns treadle.cancel_result language plpgsql as $$
declare
    v_status text;
begin
    if p_run.status not in ('pending', 'running') then
        return row('finished', p_run.status, p_run.attempt)::treadle.cancel_result;
    end if;
    p_run.cancel_action := p_action;
    if p_run.status = 'pending' then
        v_status := treadle.end_run(p_run, 'interrupted', null, null);
        return row('ended', v_status, p_run.attempt)::treadle.cancel_result;
    end if;
    update treadle.run set cancel_action = p_action, updated_at = clock_timestamp() where run_id = p_run.run_id;
    return row('signalled', 'running', p_run.attempt)::treadle.cancel_result;
end $$;

create function treadle.cancel(p_thread uuid, p_run uuid, p_action text)
returns treadle.cancel_result language plpgsql as $$
declare
    v_run    treadle.run;
    v_result treadle.cancel_result;
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    select * into v_run from treadle.run where run_id = p_run and thread_id = p_thread for update;
    if not found then
        return row('not_found', null, 0)::treadle.cancel_result;
    end if;
    v_result := treadle.cancel_locked(v_run, p_action);
    if v_result.outcome = 'ended' then
        perform treadle.settle(p_thread, null);
    end if;
    return v_result;
end $$;

-- Remove an ended run with its checkpoints. Outcome: deleted, active (it has not ended), not_found.
create function treadle.delete_run(p_thread uuid, p_run uuid) returns text language plpgsql as $$
declare
    v_status text;
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    select status into v_status from treadle.run where run_id = p_run and thread_id = p_thread;
    if not found then
        return 'not_found';
    elsif v_status in ('pending', 'running') then
        return 'active';
    end if;
    perform treadle.roll_back(p_thread, p_run);
    return 'deleted';
end $$;

-- Accept a run. Outcome: created, busy (strategy reject), thread_not_found.
create type treadle.create_result as (
    outcome   text,
    cancelled jsonb,        -- [{run_id, outcome, status, attempt}] of runs that the strategy cancelled
    run       treadle.run
);

create function treadle.create_run(
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb
) returns treadle.create_result language plpgsql as $$
declare
    v_run       treadle.run;
    v_other     treadle.run;
    v_cancel    treadle.cancel_result;
    v_cancelled jsonb := '[]';
begin
    if p_stateless or p_if_not_exists = 'create' then
        insert into treadle.thread (thread_id, stateless, metadata)
        values (p_thread, p_stateless, p_thread_metadata)
        on conflict (thread_id) do nothing;
    end if;
    perform from treadle.thread where thread_id = p_thread and gone_at is null for no key update;
    if not found then
        return row('thread_not_found', v_cancelled, null)::treadle.create_result;
    end if;
    if p_strategy = 'reject' and exists (
        select from treadle.run where thread_id = p_thread and status in ('pending', 'running')
    ) then
        return row('busy', v_cancelled, null)::treadle.create_result;
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

-- Remove threads with all that they own. The thread goes first: its runs go with it, so no worker can write
-- another checkpoint once the checkpoints are taken away.
create function treadle.delete_threads(p_threads uuid[]) returns setof uuid language plpgsql as $$
begin
    -- Two batches with threads in common must not wait for each other in a circle.
    perform from treadle.thread where thread_id = any(p_threads) order by thread_id for update;
    return query delete from treadle.thread where thread_id = any(p_threads) returning thread_id;
    delete from checkpoints where thread_id = any(p_threads::text[]);
    delete from checkpoint_blobs where thread_id = any(p_threads::text[]);
    delete from checkpoint_writes where thread_id = any(p_threads::text[]);
end $$;
