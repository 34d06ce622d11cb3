-- Pending writes go with their run when their checkpoint was never committed.
--
-- Under `durability: async` a step's writes may be committed before the checkpoint that they belong to. If the worker dies
-- in between they hang on nothing: no attempt reads them again, and only the removal of the thread took them away.

-- As in 0005, and the writes that hang on nothing. A run that succeeded in its first attempt has left none, and costs nothing.
create or replace function treadle.end_run(p_run treadle.run, p_status text, p_output json, p_error json)
returns text language plpgsql as $$
declare
    v_status text := case p_run.cancel_action when 'interrupt' then 'interrupted' else p_status end;
    v_url    text := treadle.webhook_of(p_run.kwargs);
    v_now    timestamptz := clock_timestamp();
begin
    if p_run.cancel_action = 'rollback' then
        if v_url is not null then
            perform treadle.owe_webhook(p_run, 'rollback', null, v_now, v_url);
        end if;
        perform treadle.roll_back(p_run.thread_id, p_run.run_id);
        return 'rolled_back';
    end if;
    update treadle.run
       set status = v_status, output = p_output, error = p_error,
           ended_at = v_now, updated_at = v_now
     where run_id = p_run.run_id;
    delete from treadle.lease where run_id = p_run.run_id;
    if p_run.attempt > 1 or (p_run.attempt = 1 and v_status <> 'success') then
        delete from checkpoint_writes w
         where w.treadle_run_id = p_run.run_id and w.thread_id = p_run.thread_id::text
           and not exists (select from checkpoints c
                            where c.thread_id = w.thread_id and c.checkpoint_ns = w.checkpoint_ns
                              and c.checkpoint_id = w.checkpoint_id);
    end if;
    if v_url is not null then
        perform treadle.owe_webhook(p_run, v_status, p_error, v_now, v_url);
    end if;
    return v_status;
end $$;
