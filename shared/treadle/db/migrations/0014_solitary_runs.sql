-- The last attempt is made alone. Whoever loses its worker has been on it with others, and nobody knows which of them killed
-- it. So a run whose next attempt is its last gets a process of its own for it, and is given up only when it has lost that.
--
-- `p_max_crashes - 1` crashes make a run solitary. An ordinary claim does not take it, and answers `solitary`; a claim with
-- `p_alone` does. Where `p_max_crashes` is 1 no run has a second attempt, and none is solitary.

-- Whether the attempt is made in a process of its own; and whether the worker that started this process has seen it die. The
-- worker itself may be what died first, by another run's doing, and took it along: then nobody says so, and one such death
-- proves nothing. After `2 * p_max_crashes` it is given up all the same: what kills all processes of a container together
-- (out of memory in a cgroup) leaves no witness.
alter table treadle.lease
    add column alone boolean not null default false,
    add column died  boolean not null default false;

-- As in 0013, and solitary runs; and whoever ends a run whose lease is over makes sure of that: a heartbeat that comes late, but
-- before this, stands. `p_alone` null: a worker of the version before, which knows no solitary runs.
create function treadle.claim_next(
    p_thread uuid, p_worker text, p_lease interval, p_max_crashes int, p_alone boolean
) returns treadle.claim_result language plpgsql as $$
declare
    v_run      treadle.run;
    v_lease    treadle.lease;
    v_crashes  int;
    -- So many crashes make a run solitary; null: none, to this claim.
    v_solitary int := case when not p_alone and p_max_crashes > 1 then p_max_crashes - 1 end;
    v_given_up boolean;
    v_how      text;
    v_ended    jsonb := '[]';
    v_status   text;
    v_error    json;
begin
    loop
        select * into v_run from treadle.run where thread_id = p_thread and status = 'running';
        if not found then
            select * into v_run from treadle.run
             where thread_id = p_thread and status = 'pending'
               and (not_before is null or not_before <= clock_timestamp())
             order by (attempt = 0), seq limit 1;
            if not found then
                return row('idle', null, v_ended, null)::treadle.claim_result;
            elsif v_run.crashes >= v_solitary then
                return row('solitary', null, v_ended, null)::treadle.claim_result;
            end if;
            update treadle.run
               set status = 'running', attempt = attempt + 1, updated_at = clock_timestamp(),
                   started_at = coalesce(started_at, clock_timestamp())
             where run_id = v_run.run_id returning * into v_run;
            insert into treadle.lease (run_id, attempt, worker, lease_until, alone)
            values (v_run.run_id, v_run.attempt, p_worker, clock_timestamp() + p_lease, coalesce(p_alone, false));
            return row('claimed', null, v_ended, v_run)::treadle.claim_result;
        end if;

        select * into v_lease from treadle.lease where run_id = v_run.run_id;
        if v_lease.lease_until > clock_timestamp() then
            return row('leased', extract(epoch from v_lease.lease_until - clock_timestamp()), v_ended, null)
                   ::treadle.claim_result;
        end if;

        -- It seems dead. From here on no heartbeat can revive it.
        select * into v_lease from treadle.lease where run_id = v_run.run_id for update;
        if v_lease.lease_until > clock_timestamp() then
            continue;
        end if;

        -- The lease is dead: its worker crashed, hangs, or is cut off.
        v_crashes := v_run.crashes + 1;
        v_given_up := v_crashes >= p_max_crashes
            and (p_alone is null or p_max_crashes = 1 or coalesce(v_lease.died, false)
                 or coalesce(v_lease.alone, false) and v_crashes >= 2 * p_max_crashes);
        if v_run.cancel_action is not null or v_given_up then
            if v_run.cancel_action is null then
                v_how := case when v_lease.alone then ', the last time in a process of its own' else '' end;
                insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason, kwargs)
                values (v_run.run_id, v_run.thread_id, v_run.graph_id, v_run.attempt,
                        format('worker lost %s times%s', v_crashes,
                               case when v_lease.alone then v_how || ': ' || v_lease.worker end),
                        v_run.kwargs);
                v_error := json_build_object(
                    'error', 'WorkerLost',
                    'message', format('The run was given up: its worker died or fell silent %s times '
                                      '(BG_JOB_MAX_RETRIES)%s. Its last checkpoint is kept.', v_crashes, v_how));
            end if;
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

        if v_crashes >= v_solitary then
            -- It waits for its turn as any other does: without a lease, and a cancel ends it at once.
            delete from treadle.lease where run_id = v_run.run_id;
            update treadle.run
               set status = 'pending', crashes = crashes + 1, updated_at = clock_timestamp()
             where run_id = v_run.run_id;
            continue;
        end if;
        insert into treadle.lease (run_id, attempt, worker, lease_until, alone)
        values (v_run.run_id, v_run.attempt + 1, p_worker, clock_timestamp() + p_lease, coalesce(p_alone, false))
        on conflict (run_id) do update
           set attempt = excluded.attempt, worker = excluded.worker, lease_until = excluded.lease_until,
               alone = excluded.alone, died = false;
        update treadle.run
           set attempt = attempt + 1, crashes = crashes + 1, updated_at = clock_timestamp()
         where run_id = v_run.run_id returning * into v_run;
        return row('claimed', null, v_ended, v_run)::treadle.claim_result;
    end loop;
end $$;

-- As in 0002; `solitary` besides.
create function treadle.claim(p_thread uuid, p_worker text, p_lease interval, p_max_crashes int, p_alone boolean)
returns treadle.claim_result language plpgsql as $$
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    if not found then
        return row('idle', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    return treadle.claim_next(p_thread, p_worker, p_lease, p_max_crashes, p_alone);
end $$;

-- As in 0002; what follows may be `solitary`.
create function treadle.finish(
    p_thread uuid, p_run uuid, p_attempt int, p_status text, p_output json, p_error json,
    p_values jsonb, p_interrupts jsonb, p_resting text,
    p_worker text, p_lease interval, p_max_crashes int, p_alone boolean, p_claim_next boolean
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
        v_result := treadle.claim_next(p_thread, p_worker, p_lease, p_max_crashes, p_alone);
    else
        v_result := row('idle', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    perform treadle.settle(p_thread, case when v_status <> 'rolled_back' then p_resting end);
    v_result.ended := v_ended || v_result.ended;
    return v_result;
end $$;

-- What workers of the version before call.
create or replace function treadle.claim_next(p_thread uuid, p_worker text, p_lease interval, p_max_crashes int)
returns treadle.claim_result language plpgsql as $$
begin
    return treadle.claim_next(p_thread, p_worker, p_lease, p_max_crashes, null);
end $$;
create or replace function treadle.finish(
    p_thread uuid, p_run uuid, p_attempt int, p_status text, p_output json, p_error json,
    p_values jsonb, p_interrupts jsonb, p_resting text,
    p_worker text, p_lease interval, p_max_crashes int, p_claim_next boolean
) returns treadle.claim_result language plpgsql as $$
begin
    return treadle.finish(p_thread, p_run, p_attempt, p_status, p_output, p_error, p_values, p_interrupts, p_resting,
                          p_worker, p_lease, p_max_crashes, null, p_claim_next);
end $$;
