-- Threads that are searched, and threads that expire.

-- One order per index: the pages of a search are read in it, newest first or last, whatever the filter matches. Every
-- run changes its thread's row several times, and each change adds to every index: so only the orders that clients ask
-- for all the time have one, and of the statuses those in which threads wait for somebody.
create index thread_by_update on treadle.thread (updated_at, thread_id) where gone_at is null;
create index thread_by_creation on treadle.thread (created_at, thread_id) where gone_at is null;
create index thread_waiting on treadle.thread (status, updated_at, thread_id)
    where gone_at is null and status in ('interrupted', 'error');
-- Containment in metadata. Entries wait in a list that every search reads: it is kept short.
create index thread_metadata on treadle.thread using gin (metadata jsonb_path_ops)
  with (gin_pending_list_limit = 256);

-- Large values are kept apart from the row: what reads many threads, or changes one's status, leaves them alone.
alter table treadle.thread set (toast_tuple_target = 512);

alter table treadle.thread
    add column ttl_strategy text check (ttl_strategy in ('delete', 'keep_latest')),
    add column ttl_minutes  double precision,
    -- When the scheduler removes the thread, or prunes it. Null: not before something happens on it again.
    add column expires_at   timestamptz;
create index thread_expiry on treadle.thread (expires_at) where expires_at is not null;

-- Whatever happens on a thread puts its end off. A trigger, since many functions touch threads and all of them
-- set `updated_at`.
create function treadle.put_off_expiry() returns trigger language plpgsql as $$
begin
    new.expires_at := clock_timestamp() + make_interval(secs => 60 * new.ttl_minutes);
    return new;
end $$;
create trigger thread_expires before insert or update of updated_at, ttl_minutes on treadle.thread
    for each row when (new.ttl_minutes is not null) execute function treadle.put_off_expiry();

-- Make the thread that comes with its run, unless it is there, with the time to live that threads have here.
create function treadle.bring_thread(p_thread uuid, p_metadata jsonb, p_strategy text, p_minutes double precision)
returns uuid language plpgsql as $$
begin
    if p_minutes is not null then
        insert into treadle.thread (thread_id, metadata, ttl_strategy, ttl_minutes)
        values (p_thread, p_metadata, p_strategy, p_minutes)
        on conflict (thread_id) do nothing;
    end if;
    return p_thread;
end $$;

-- Remove a batch of threads that have expired, oldest first. A thread whose runs go on is never one of them: a run
-- is accepted together with a change of its thread, which moves the end; and what waits for a lock looks again.
create function treadle.expire_threads(p_limit int) returns setof uuid language plpgsql as $$
declare
    v_due uuid[];
begin
    select array_agg(due.thread_id) into v_due
      from (select t.thread_id from treadle.thread t
             where t.expires_at <= clock_timestamp() and t.ttl_strategy = 'delete' and t.status <> 'busy'
               and not exists (select from treadle.run r
                                where r.thread_id = t.thread_id and r.status in ('pending', 'running'))
             order by t.expires_at limit p_limit for update skip locked) as due;
    return query select treadle.delete_threads(v_due);
end $$;
