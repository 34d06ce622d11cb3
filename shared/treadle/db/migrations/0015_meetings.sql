-- Cancels and removals that meet something else on their thread.

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
