-- Webhooks, and cancelling many runs at once.
--
-- A webhook is owed from the moment at which its run ends: the transaction that ends the run writes it down, with
-- all that is to be told, and whoever ends the run later has nothing to remember. It is delivered by a worker at
-- once, and by the scheduler whenever that came to nothing: at least once, not exactly once.

create table treadle.webhook (
    -- The same for every attempt, so that a receiver knows what it has had already.
    webhook_id uuid        primary key default gen_random_uuid(),
    -- No reference: of a run that was rolled back only this is left.
    run_id     uuid        not null,
    thread_id  uuid        not null,
    url        text        not null,
    -- How the run ended; `rollback`: nothing else is left of it.
    status     text        not null,
    state      text        not null default 'owed' check (state in ('owed', 'delivered', 'failed')),
    -- The run as it ended, and the values that it left on its thread; both are dropped once it is settled.
    run        json,
    "values"   jsonb,
    attempts   int         not null default 0,
    -- When the next attempt may begin. An attempt that has begun puts it off to the end of its lease.
    due_at     timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz
);
create index webhook_due on treadle.webhook (due_at) where state = 'owed';
create index webhook_of_run on treadle.webhook (run_id);
create index webhook_settled on treadle.webhook (settled_at) where settled_at is not null;

-- An attempt without `secs` is on its way, or whoever made it has died.
create table treadle.webhook_attempt (
    webhook_id uuid        not null references treadle.webhook on delete cascade,
    number     int         not null,
    at         timestamptz not null default clock_timestamp(),
    secs       float8,
    status     int,
    error      text,
    primary key (webhook_id, number)
);

-- The URL that a run asked for. Treadle writes kwargs without spaces, so most of them need not be parsed. What a client
-- sends may have NUL in it, which json keeps, but no text can hold, not even while Postgres reads past it: it is read as
-- a space. (An escaped backslash before u0000 stays one.)
create function treadle.webhook_of(p_kwargs json) returns text immutable language plpgsql as $$
begin
    if position('"webhook":"' in p_kwargs::text) = 0 then
        return null;
    end if;
    return replace(p_kwargs::text, '\u0000', '\u0020')::json ->> 'webhook';
end $$;

-- Write down what is owed for a run that ends now.
create function treadle.owe_webhook(
    p_run treadle.run, p_status text, p_error json, p_ended_at timestamptz, p_url text)
returns void language plpgsql as $$
begin
    p_run.status := p_status;
    p_run.error := p_error;
    p_run.output := null;
    p_run.ended_at := p_ended_at;
    p_run.updated_at := p_ended_at;
    insert into treadle.webhook (run_id, thread_id, url, status, run)
    values (p_run.run_id, p_run.thread_id, p_url, p_status, to_json(p_run));
end $$;

-- The values are those that the thread has when the run's end is committed: whoever ends it may write them after.
create function treadle.add_webhook_values() returns trigger language plpgsql as $$
begin
    update treadle.webhook w set "values" = t."values"
      from treadle.thread t
     where w.webhook_id = new.webhook_id and t.thread_id = w.thread_id;
    return null;
end $$;
create constraint trigger webhook_values after insert on treadle.webhook
    deferrable initially deferred for each row when (new.status <> 'rollback')
    execute function treadle.add_webhook_values();

-- As in 0002, and a webhook is owed for a run that asked for one; a run that did not costs no statement more.
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
    if v_url is not null then
        perform treadle.owe_webhook(p_run, v_status, p_error, v_now, v_url);
    end if;
    return v_status;
end $$;

-- Cancel the runs of a thread that have one of the statuses; of these only, if ids are given.
create function treadle.cancel_runs(p_thread uuid, p_statuses text[], p_runs uuid[], p_action text)
returns table (run_id uuid, outcome text, status text, attempt int) language plpgsql as $$
declare
    v_run    treadle.run;
    v_result treadle.cancel_result;
    v_ended  boolean := false;
begin
    perform from treadle.thread t where t.thread_id = p_thread for no key update;
    for v_run in
        select * from treadle.run r
         where r.thread_id = p_thread and r.status = any(p_statuses)
           and (p_runs is null or r.run_id = any(p_runs))
         order by r.seq for update
    loop
        v_result := treadle.cancel_locked(v_run, p_action);
        v_ended := v_ended or v_result.outcome = 'ended';
        return query select v_run.run_id, v_result.outcome, v_result.status, v_result.attempt;
    end loop;
    if v_ended then
        perform treadle.settle(p_thread, null);
    end if;
end $$;
