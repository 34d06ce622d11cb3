-- What became of every run, lease and checkpoint, written down in the same transactions: the history that the model
-- judges. Ids are drawn while the thread or the run is locked, so that those of a thread are in the order of commits.
create schema chaos;

create table chaos.run_change (
    id bigint primary key generated always as identity, at timestamptz not null default clock_timestamp(),
    gone boolean not null, run_id uuid not null, thread_id uuid not null, seq bigint not null, status text not null,
    attempt int not null, crashes int not null, cancel_action text, not_before timestamptz, started_at timestamptz, label text,
    durability text, strategy text, answers boolean not null, error text);
create function chaos.note_run() returns trigger language plpgsql as $$
declare
    v_run treadle.run := case when tg_op = 'DELETE' then old else new end;
begin
    insert into chaos.run_change (gone, run_id, thread_id, seq, status, attempt, crashes, cancel_action, not_before,
                                  started_at, label, durability, strategy, answers, error)
    values (tg_op = 'DELETE', v_run.run_id, v_run.thread_id, v_run.seq, v_run.status, v_run.attempt, v_run.crashes,
            v_run.cancel_action, v_run.not_before, v_run.started_at, v_run.metadata ->> 'label',
            coalesce(v_run.kwargs ->> 'durability', 'async'), v_run.multitask_strategy,
            coalesce(json_typeof(v_run.kwargs -> 'command') = 'object', false), v_run.error ->> 'message');
    return null;
end $$;
create trigger chaos_came_or_went after insert or delete on treadle.run for each row execute function chaos.note_run();
create trigger chaos_changed after update on treadle.run for each row
    when ((old.status, old.attempt, old.crashes, old.cancel_action)
          is distinct from (new.status, new.attempt, new.crashes, new.cancel_action))
    execute function chaos.note_run();

create table chaos.lease_change (
    id bigint primary key generated always as identity, at timestamptz not null default clock_timestamp(),
    run_id uuid not null, attempt int not null, worker text not null);
create function chaos.note_lease() returns trigger language plpgsql as $$
begin
    insert into chaos.lease_change (run_id, attempt, worker) values (new.run_id, new.attempt, new.worker);
    return null;
end $$;
create trigger chaos_lease after insert or update of attempt on treadle.lease
    for each row execute function chaos.note_lease();

create table chaos.checkpoint_change (
    id bigint primary key generated always as identity, at timestamptz not null default clock_timestamp(),
    gone boolean not null, thread_id text not null, ns text not null, checkpoint_id text not null, parent_id text,
    run_id text, attempt int, source text, label text, step int);
create function chaos.note_checkpoint() returns trigger language plpgsql as $$
declare
    v_row checkpoints := case when tg_op = 'DELETE' then old else new end;
begin
    insert into chaos.checkpoint_change (gone, thread_id, ns, checkpoint_id, parent_id, run_id, attempt, source, label, step)
    values (tg_op = 'DELETE', v_row.thread_id, v_row.checkpoint_ns, v_row.checkpoint_id, v_row.parent_checkpoint_id,
            v_row.metadata ->> 'run_id', (v_row.metadata ->> 'run_attempt')::int, v_row.metadata ->> 'source',
            v_row.checkpoint -> 'channel_values' ->> 'label', (v_row.checkpoint -> 'channel_values' ->> 'at')::int);
    return null;
end $$;
create trigger chaos_checkpoint after insert or delete on checkpoints
    for each row execute function chaos.note_checkpoint();
