-- What a run has written over on a checkpoint of another run, so that it is there again when the run is rolled back.
--
-- langgraph keeps the question of a task, its error and the answers that it has got in one row each. A run that answers a
-- question writes over that row when the task asks again, and rolling the run back took the first question away with the second.
create table treadle.replaced_write (
    -- Who has written over it; the row goes with that run.
    by_run         uuid not null references treadle.run on delete cascade,
    thread_id      text not null,
    checkpoint_ns  text not null,
    checkpoint_id  text not null,
    task_id        text not null,
    idx            int  not null,
    task_path      text not null,
    channel        text not null,
    type           text,
    blob           bytea not null,
    -- Whose it was; null: of nobody who is known, as in checkpoint_writes.
    treadle_run_id uuid,
    primary key (by_run, checkpoint_ns, checkpoint_id, task_id, idx)
);
create index replaced_write_thread on treadle.replaced_write (thread_id);

-- As in 0015, and what the run had written over is there again. Another run may have written over this one's row in turn:
-- then that one has what was there before.
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
    update treadle.replaced_write later
       set task_path = r.task_path, channel = r.channel, type = r.type, blob = r.blob,
           treadle_run_id = r.treadle_run_id
      from treadle.replaced_write r
     where later.thread_id = v_thread and later.treadle_run_id = p_run
       and r.by_run = p_run and r.checkpoint_ns = later.checkpoint_ns and r.checkpoint_id = later.checkpoint_id
       and r.task_id = later.task_id and r.idx = later.idx;
    delete from treadle.replaced_write where thread_id = v_thread and treadle_run_id = p_run;
    insert into checkpoint_writes
           (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, treadle_run_id)
    select r.thread_id, r.checkpoint_ns, r.checkpoint_id, r.task_id, r.task_path, r.idx, r.channel, r.type, r.blob,
           r.treadle_run_id
      from treadle.replaced_write r join checkpoints c using (thread_id, checkpoint_ns, checkpoint_id)
     where r.by_run = p_run
        on conflict do nothing;
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
