-- A run has begun in the moment for which it was decided that it is the next. Before, a run whose delay ended between the decision and
-- the row's change was due when the other one began, and seemed to have been passed over.

-- As in 0014, with one moment for both.
create or replace function treadle.claim_next(
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
    v_now      timestamptz;
begin
    loop
        v_now := clock_timestamp();
        select * into v_run from treadle.run where thread_id = p_thread and status = 'running';
        if not found then
            select * into v_run from treadle.run
             where thread_id = p_thread and status = 'pending'
               and (not_before is null or not_before <= v_now)
             order by (attempt = 0), seq limit 1;
            if not found then
                return row('idle', null, v_ended, null)::treadle.claim_result;
            elsif v_run.crashes >= v_solitary then
                return row('solitary', null, v_ended, null)::treadle.claim_result;
            end if;
            update treadle.run
               set status = 'running', attempt = attempt + 1, updated_at = clock_timestamp(),
                   started_at = coalesce(started_at, v_now)
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
