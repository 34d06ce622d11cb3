-- The truth: assistants, threads, runs, leases, dead letters. The checkpoint and store tables are the stock
-- ones of langgraph, made by their own set-up before these.

create schema if not exists treadle;

create table treadle.assistant (
    assistant_id uuid primary key,
    graph_id     text        not null,
    name         text        not null,
    description  text,
    config       jsonb       not null default '{}',
    context      jsonb       not null default '{}',
    metadata     jsonb       not null default '{}',
    version      int         not null default 1,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now()
);
create index assistant_graph on treadle.assistant (graph_id);

create table treadle.thread (
    thread_id        uuid primary key,
    status           text        not null default 'idle'
                     check (status in ('idle', 'busy', 'interrupted', 'error')),
    -- What the status is, or was before the thread became busy: a run that comes to nothing leads back to it.
    resting          text        not null default 'idle'
                     check (resting in ('idle', 'interrupted', 'error')),
    metadata         jsonb       not null default '{}',
    config           jsonb       not null default '{}',
    "values"         jsonb,
    interrupts       jsonb       not null default '{}',
    error            jsonb,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    state_updated_at timestamptz not null default now(),
    -- A stateless run owns its thread; `gone_at` hides the ended one and dates its removal.
    stateless        boolean     not null default false,
    gone_at          timestamptz
);
create index thread_gone on treadle.thread (gone_at) where gone_at is not null;

create table treadle.run (
    run_id             uuid primary key,
    thread_id          uuid        not null references treadle.thread on delete cascade,
    assistant_id       uuid        not null,
    graph_id           text        not null,
    -- The order in which the runs of a thread were accepted, and the order in which they run.
    seq                bigint      not null generated always as identity,
    status             text        not null default 'pending'
                       check (status in ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
    -- The fencing token: grows with every claim, never shrinks.
    attempt            int         not null default 0,
    -- Attempts that a dead worker lost: what BG_JOB_MAX_RETRIES bounds.
    crashes            int         not null default 0,
    not_before         timestamptz,
    cancel_action      text        check (cancel_action in ('interrupt', 'rollback')),
    multitask_strategy text        not null default 'enqueue',
    metadata           jsonb       not null default '{}',
    kwargs             json        not null,
    route              text        not null default 'default',
    graph_version      text,
    output             json,
    error              json,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),
    started_at         timestamptz,
    ended_at           timestamptz
);
-- At most one run at a time on a thread: a fact of the database, not a habit of the code.
create unique index run_one_running on treadle.run (thread_id) where status = 'running';
create index run_next on treadle.run (thread_id, seq) where status = 'pending';
create index run_of_thread on treadle.run (thread_id, created_at desc);
create index run_waiting on treadle.run (created_at) where status = 'pending';
create index run_delayed on treadle.run (not_before) where status = 'pending' and not_before is not null;

-- Apart from the run: heartbeats touch neither the wide row nor the lock that fenced writes take on it.
create table treadle.lease (
    run_id      uuid primary key references treadle.run on delete cascade,
    attempt     int         not null,
    worker      text        not null,
    lease_until timestamptz not null
);
create index lease_end on treadle.lease (lease_until);

create table treadle.dead_letter (
    id         bigint primary key generated always as identity,
    run_id     uuid        not null,
    thread_id  uuid        not null,
    graph_id   text        not null,
    attempts   int         not null,
    reason     text        not null,
    kwargs     json,
    created_at timestamptz not null default now()
);

-- Who leads a duty: a row rather than a session's advisory lock, so that it works behind a pooler.
create table treadle.leader (
    duty       text primary key,
    holder     text        not null,
    lead_until timestamptz not null
);

-- Which run made a pending write: rolling a run back takes away what it wrote to a checkpoint that it only
-- resumed. Stock savers name their columns, so they neither see nor mind it.
alter table checkpoint_writes add column if not exists treadle_run_id uuid;
create index if not exists checkpoint_writes_run on checkpoint_writes (treadle_run_id)
    where treadle_run_id is not null;
