-- Run events: what happened to runs, written down with what happened, for the scheduler to publish. A transactional
-- outbox: nothing is told that was not committed, and what was committed is told even if every process dies after it.
--
-- A row leaves the table only by its id, once JetStream has stored its message (or because it is too old). So ids that
-- become visible late are not skipped: the next look from the start of the table finds them.
--
-- Invariant: the events of a thread become visible in the order of their ids. Whatever changes the status or attempt
-- of a run, or removes one that has not ended, holds its thread's row lock from before the change until it commits
-- (0002: create, claim, finish, hand back, cancel, delete_threads), and its ids are drawn in between: an `event_id`
-- sequence that hands out ids in blocks per session (`cache` above 1) would break this. Between threads there is no
-- order.
create table treadle.run_event (
    event_id     bigint      primary key generated always as identity (cache 1),
    at           timestamptz not null default clock_timestamp(),
    -- No reference: the run may be gone, and nothing is to wait for its row.
    run_id       uuid        not null,
    thread_id    uuid        not null,
    assistant_id uuid        not null,
    attempt      int         not null,
    -- A status of a run, or `rolled_back`: it was removed before it ended, by a rollback or with its thread.
    status       text        not null,
    graph_id     text        not null
) with (
    -- Rows live for a tenth of a second: what a vacuum has to do does not depend on how many there are at the moment.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 10000
);

create function treadle.note_run_event() returns trigger language plpgsql as $$
begin
    insert into treadle.run_event (run_id, thread_id, assistant_id, attempt, status, graph_id)
    values (new.run_id, new.thread_id, new.assistant_id, new.attempt, new.status, new.graph_id);
    return null;
end $$;
create trigger run_event_created after insert on treadle.run
    for each row execute function treadle.note_run_event();
-- Another attempt of a run that is running already: it was taken over.
create trigger run_event_changed after update of status, attempt on treadle.run
    for each row when (new.status <> old.status or new.attempt <> old.attempt)
    execute function treadle.note_run_event();

create function treadle.note_run_removed() returns trigger language plpgsql as $$
begin
    insert into treadle.run_event (run_id, thread_id, assistant_id, attempt, status, graph_id)
    values (old.run_id, old.thread_id, old.assistant_id, old.attempt, 'rolled_back', old.graph_id);
    return null;
end $$;
-- A run that had ended is removed without an event: its end was told.
create trigger run_event_removed after delete on treadle.run
    for each row when (old.status in ('pending', 'running')) execute function treadle.note_run_removed();
