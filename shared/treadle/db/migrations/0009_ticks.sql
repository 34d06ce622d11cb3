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

-- Make one tick: the row, the cron's next moment, and the run, or the reason why there is none.
--
-- A cron that somebody else holds is passed over: whoever changes it, removes it or makes its tick goes first, and the next
-- look finds what is left. So is one whose thread is held: a batch is one transaction, and would keep all crons and
-- threads that it has come to waiting with it. Nobody is waited for with one of those in hand, so never in a circle.
--
-- Outcome: created; busy, thread_not_found or refused (written down in the tick); assistant_changed or moved (nothing is
-- written: the run was made from what the assistant no longer is, or the cron is no longer as it was seen, or it or its
-- thread is in somebody else's hands).
create function treadle.make_tick(
    p_cron uuid, p_seen timestamptz, p_updated timestamptz, p_scheduled timestamptz, p_next timestamptz, p_error text,
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid, p_ttl_strategy text, p_ttl_minutes double precision,
    out outcome text, out cancelled jsonb
) language plpgsql as $$
declare
    v_made treadle.create_result;
begin
    cancelled := '[]';
    perform from treadle.cron
      where cron_id = p_cron and enabled and next_run_date = p_seen and updated_at = p_updated
        for no key update skip locked;
    if not found then
        outcome := 'moved';
        return;
    end if;
    if p_if_not_exists = 'reject' then
        perform from treadle.thread where thread_id = p_thread for no key update skip locked;
        if not found then
            outcome := 'moved';
            return;
        end if;
    end if;
    if p_error is null then
        perform from treadle.current_assistant(p_assistant, p_revision);
        if not found then
            outcome := 'assistant_changed';
            return;
        end if;
    end if;
    update treadle.cron set next_run_date = p_next where cron_id = p_cron;
    insert into treadle.tick (cron_id, scheduled_for, run_id, thread_id, error)
    values (p_cron, p_scheduled, p_run, p_thread, p_error) on conflict do nothing;
    if not found then
        outcome := 'moved';
        return;
    elsif p_error is not null then
        outcome := 'refused';
        return;
    end if;
    perform treadle.bring_thread(p_thread, p_thread_metadata, p_ttl_strategy, p_ttl_minutes);
    v_made := treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy,
                                 p_if_not_exists, p_delay, p_route, p_stateless, p_thread_metadata, p_thread_config);
    outcome := v_made.outcome;
    cancelled := v_made.cancelled;
    if outcome <> 'created' then
        update treadle.tick
           set run_id = null,
               error = case outcome when 'busy' then 'The thread was busy, and the multitask strategy is `reject`.'
                                    else 'The thread is gone.' end
         where cron_id = p_cron and scheduled_for = p_scheduled;
    end if;
end $$;
