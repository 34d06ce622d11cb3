-- Crons: runs that are made again and again. A cron goes with its assistant, and with its thread if it has one.

create table treadle.cron (
    cron_id          uuid primary key,
    assistant_id     uuid        not null references treadle.assistant on delete cascade,
    thread_id        uuid        references treadle.thread on delete cascade,
    schedule         text        not null,
    timezone         text,
    end_time         timestamptz,
    enabled          boolean     not null default true,
    -- What becomes of the thread that a run of it gets for itself; null: the runs have the cron's own thread.
    on_run_completed text        check (on_run_completed in ('delete', 'keep')),
    -- The body of the request for each run, as `POST /runs` takes it.
    payload          json        not null,
    metadata         jsonb       not null default '{}',
    -- When the next run is due; null: never again. With the cron's id it names that run, whoever makes it.
    next_run_date    timestamptz,
    created_at       timestamptz not null default clock_timestamp(),
    updated_at       timestamptz not null default clock_timestamp(),
    check ((thread_id is null) = (on_run_completed is not null))
);
create index cron_due on treadle.cron (next_run_date) where enabled and next_run_date is not null;
create index cron_newest on treadle.cron (created_at desc nulls last, cron_id);
create index cron_metadata on treadle.cron using gin (metadata jsonb_path_ops);
create index cron_of_assistant on treadle.cron (assistant_id);
create index cron_of_thread on treadle.cron (thread_id) where thread_id is not null;
