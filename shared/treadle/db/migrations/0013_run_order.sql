-- The order in which the runs of a thread run: one that has begun goes on before any other begins; then as accepted.
--
-- A worker that drains hands its run back to the queue. A delayed run that was accepted before that one, and comes due
-- in between, must not get in front of it: the next attempt goes on at the thread's newest checkpoint, and that would be
-- another run's. So at most one run of a thread has begun and not ended, be it pending or running.

-- In that order. It takes the place of the index by `seq` alone: whoever looks for the pending runs of a thread finds them by it.
create index run_turn on treadle.run (thread_id, (attempt = 0), seq) where status = 'pending';
drop index treadle.run_next;

-- As in 0002, in the new order.
create or replace function treadle.claim_next(p_thread uuid, p_worker text, p_lease interval, p_max_crashes int)
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
             order by (attempt = 0), seq limit 1;
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
