-- Ticks: what was made of each moment at which a cron was due.

alter table treadle.cron
    -- What becomes of the ticks that were missed while no scheduler was there: one run for the newest, or none.
    add column on_missed text not null default 'once' check (on_missed in ('once', 'skip'));

create table treadle.tick (
    cron_id       uuid        not null references treadle.cron on delete cascade,
    scheduled_for timestamptz not null,
    -- The run that was made, and its thread; both may be gone by now. Null: none was, and `error` says why.
    run_id        uuid,
    thread_id     uuid,
    error         text,
    made_at       timestamptz not null default clock_timestamp(),
    -- However many schedulers believe that they lead: one tick.
    primary key (cron_id, scheduled_for)
);
-- In the order in which they are forgotten.
create index tick_age on treadle.tick (made_at);
