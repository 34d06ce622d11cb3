-- Cancels, removals and give-ups that meet something else on their thread.

-- As in 0002, and a rollback that was accepted stands: an interrupt that comes after it, from another client or by the
-- strategy of a new run, stops nothing that is not being stopped, and must not keep what was to be taken back.
create or replace function treadle.cancel_locked(p_run treadle.run, p_action text)
returns treadle.cancel_result language plpgsql as $$
declare
    v_status text;
begin
    if p_run.status not in ('pending', 'running') then
        return row('finished', p_run.status, p_run.attempt)::treadle.cancel_result;
    end if;
    p_run.cancel_action := case p_run.cancel_action when 'rollback' then 'rollback' else p_action end;
    if p_run.status = 'pending' then
        v_status := treadle.end_run(p_run, 'interrupted', null, null);
        return row('ended', v_status, p_run.attempt)::treadle.cancel_result;
    end if;
    update treadle.run set cancel_action = p_run.cancel_action, updated_at = clock_timestamp()
     where run_id = p_run.run_id;
    return row('signalled', 'running', p_run.attempt)::treadle.cancel_result;
end $$;

-- As in 0002, but while another run of the thread is on, values that no checkpoint has any more stay: that run may have read
-- them, and its next checkpoint names them without writing them again. The next rollback or removal takes them away.
create or replace function treadle.roll_back(p_thread uuid, p_run uuid) returns void language plpgsql as $$
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
       and not exists (select from treadle.run
                        where thread_id = p_thread and status = 'running' and run_id <> p_run)
       and not exists (
           select from checkpoints c
            where c.thread_id = b.thread_id and c.checkpoint_ns = b.checkpoint_ns
              and c.checkpoint -> 'channel_versions' ->> b.channel = b.version);
    delete from treadle.run where run_id = p_run;
end $$;

-- As in 0014, and whoever ends a run whose lease is over makes sure of that: a heartbeat that comes late, but before this, stands.
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
