-- What a run writes last goes with its outcome: one transaction and one round trip less for each run.

-- Checkpoints, their values and the writes of tasks, as columns. Whoever calls it holds the lock that is the fence.
create function treadle.put_checkpoints(
    p_run uuid,
    p_blob_threads text[], p_blob_spaces text[], p_blob_channels text[], p_versions text[], p_blob_types text[],
    p_values bytea[],
    p_threads text[], p_spaces text[], p_ids text[], p_parents text[], p_checkpoints jsonb[], p_metadata jsonb[],
    p_write_threads text[], p_write_spaces text[], p_write_ids text[], p_tasks text[], p_paths text[], p_idxs int[],
    p_channels text[], p_types text[], p_writes bytea[]
) returns void language plpgsql as $$
begin
    insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    select * from unnest(p_blob_threads, p_blob_spaces, p_blob_channels, p_versions, p_blob_types, p_values)
        on conflict (thread_id, checkpoint_ns, channel, version) do nothing;
    insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
    select * from unnest(p_threads, p_spaces, p_ids, p_parents, p_checkpoints, p_metadata)
        on conflict (thread_id, checkpoint_ns, checkpoint_id)
        do update set checkpoint = excluded.checkpoint, metadata = excluded.metadata;
    insert into checkpoint_writes
           (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, treadle_run_id)
    select w.*, p_run
      from unnest(p_write_threads, p_write_spaces, p_write_ids, p_tasks, p_paths, p_idxs, p_channels, p_types, p_writes) w
        on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) do nothing;
end $$;

-- The same with a fence: whether it let them through. See checkpoint/writing.py.
create function treadle.write_checkpoints(
    p_run uuid, p_attempt int,
    p_blob_threads text[], p_blob_spaces text[], p_blob_channels text[], p_versions text[], p_blob_types text[],
    p_values bytea[],
    p_threads text[], p_spaces text[], p_ids text[], p_parents text[], p_checkpoints jsonb[], p_metadata jsonb[],
    p_write_threads text[], p_write_spaces text[], p_write_ids text[], p_tasks text[], p_paths text[], p_idxs int[],
    p_channels text[], p_types text[], p_writes bytea[]
) returns boolean language plpgsql as $$
begin
    perform from treadle.run where run_id = p_run and attempt = p_attempt and status = 'running' for share;
    if not found then
        return false;
    end if;
    perform treadle.put_checkpoints(
        p_run, p_blob_threads, p_blob_spaces, p_blob_channels, p_versions, p_blob_types, p_values,
        p_threads, p_spaces, p_ids, p_parents, p_checkpoints, p_metadata,
        p_write_threads, p_write_spaces, p_write_ids, p_tasks, p_paths, p_idxs, p_channels, p_types, p_writes);
    return true;
end $$;

-- As in 0014, and the thread's row is written once. What the thread has left to do does not depend on whether its next run is
-- pending still or running already, so it is looked at before that one is claimed.
create or replace function treadle.finish(
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
    if v_status = 'rolled_back' then
        perform treadle.settle(p_thread, null);
    else
        update treadle.thread t
           set "values" = coalesce(p_values, t."values"),
               interrupts = coalesce(p_interrupts, t.interrupts),
               error = p_error::jsonb,
               state_updated_at = case when p_values is null then t.state_updated_at else clock_timestamp() end,
               status = case when waiting.runs then 'busy' else coalesce(p_resting, t.resting) end,
               resting = coalesce(p_resting, t.resting),
               updated_at = clock_timestamp(),
               gone_at = case when t.stateless and not waiting.runs then clock_timestamp() else t.gone_at end
          from (select exists (select from treadle.run
                                where thread_id = p_thread and status in ('pending', 'running'))) as waiting (runs)
         where t.thread_id = p_thread;
    end if;
    if p_claim_next then
        v_result := treadle.claim_next(p_thread, p_worker, p_lease, p_max_crashes, p_alone);
    else
        v_result := row('idle', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    v_result.ended := v_ended || v_result.ended;
    return v_result;
end $$;

-- `finish`, and before it what the attempt has left to write: all of it or nothing, by the same fence.
create function treadle.finish_with(
    p_thread uuid, p_run uuid, p_attempt int, p_status text, p_output json, p_error json,
    p_values jsonb, p_interrupts jsonb, p_resting text,
    p_worker text, p_lease interval, p_max_crashes int, p_alone boolean, p_claim_next boolean,
    p_blob_threads text[], p_blob_spaces text[], p_blob_channels text[], p_versions text[], p_blob_types text[],
    p_blobs bytea[],
    p_threads text[], p_spaces text[], p_ids text[], p_parents text[], p_checkpoints jsonb[], p_metadata jsonb[],
    p_write_threads text[], p_write_spaces text[], p_write_ids text[], p_tasks text[], p_paths text[], p_idxs int[],
    p_channels text[], p_types text[], p_writes bytea[]
) returns treadle.claim_result language plpgsql as $$
begin
    perform from treadle.thread where thread_id = p_thread for no key update;
    perform from treadle.run where run_id = p_run and attempt = p_attempt and status = 'running' for update;
    if not found then
        return row('fenced', null, '[]'::jsonb, null)::treadle.claim_result;
    end if;
    perform treadle.put_checkpoints(
        p_run, p_blob_threads, p_blob_spaces, p_blob_channels, p_versions, p_blob_types, p_blobs,
        p_threads, p_spaces, p_ids, p_parents, p_checkpoints, p_metadata,
        p_write_threads, p_write_spaces, p_write_ids, p_tasks, p_paths, p_idxs, p_channels, p_types, p_writes);
    return treadle.finish(p_thread, p_run, p_attempt, p_status, p_output, p_error, p_values, p_interrupts, p_resting,
                          p_worker, p_lease, p_max_crashes, p_alone, p_claim_next);
end $$;
