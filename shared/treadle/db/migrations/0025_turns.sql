-- Turns: while NATS has as many wake-ups as workers need, further runs wait here until it is their tenant's turn.
--
-- A wake-up that is published is first in, first out: who publishes ten thousand keeps all others waiting. So NATS is kept short,
-- and what comes next is decided here, by rounds in which each tenant has as many turns as its weight says. That is start-time fair
-- queueing (Goyal, Vin and Cheng, SIGCOMM 1996): a run begins to count when its tenant's run before it has had its share, and the
-- one that began to count first goes first. Whoever comes after a time without runs begins where the others are: it neither waits
-- for them nor has saved anything up.

-- Runs of which workers are not told yet. A row outlives its run's wish for one: who admits looks whether the run still waits.
create table treadle.turn (
    run_id   uuid primary key,
    thread_id uuid not null,
    tenant   text not null,
    route    text not null,
    attempt  int not null,
    -- -5 goes first, 5 last, within the tenant.
    priority smallint not null,
    seq      bigint not null
);
create index turn_next on treadle.turn (route, tenant, priority, seq);

-- Up to where a tenant has had its share of a route, in turns of a tenant of weight 1. The row without a tenant is the route's clock.
create table treadle.share (
    route      text not null,
    tenant     text not null,
    passed     double precision not null,
    -- What is left of the turns that a tenant with a rate may take at once, and when that was counted.
    left_over  double precision,
    counted_at timestamptz not null default clock_timestamp(),
    primary key (route, tenant)
);

-- Threads in work of tenants that may have only so many: since a run of theirs was admitted, for as long as it waits for its worker,
-- or any run of its thread is on.
create table treadle.admission (
    thread_id uuid primary key,
    run_id    uuid not null,
    tenant    text not null,
    route     text not null
);
create index admission_of on treadle.admission (route, tenant);

-- Which runs of a thread go first; null: nobody has said so yet.
alter table treadle.thread add column priority smallint;

-- The next runs of a route whose turn it is, `p_room` at the most; they are no longer in the queue. Whoever calls this publishes them
-- once it is committed; those of a caller that dies before are found by the sweeper.
--   p_shares: by tenant, `*` for all others: weight; concurrency: threads in work; starts_per_minute. What is missing is 1, or unlimited.
create function treadle.admit(p_route text, p_room int, p_shares jsonb) returns setof treadle.turn
language plpgsql as $$
declare
    v_clock double precision;
begin
    -- One at a time: each begins where the one before has left the clock.
    perform pg_advisory_xact_lock(hashtext('treadle.turn'), hashtext(p_route));
    select passed into v_clock from treadle.share where route = p_route and tenant = '';
    v_clock := coalesce(v_clock, 0);

    delete from treadle.admission a
     where a.route = p_route
       and not exists (select from treadle.run r where r.thread_id = a.thread_id and r.status = 'running')
       and not exists (select from treadle.run r where r.run_id = a.run_id and r.status = 'pending');

    return query
    with recursive waiting (tenant) as (
        (select t.tenant from treadle.turn t where t.route = p_route order by t.tenant limit 1)
        union all
        select (select t.tenant from treadle.turn t
                 where t.route = p_route and t.tenant > w.tenant order by t.tenant limit 1)
          from waiting w where w.tenant is not null
    ),
    ruled as (
        select w.tenant, s.route is not null as known, greatest(coalesce(s.passed, 0), v_clock) as start,
               coalesce((rule ->> 'weight')::double precision, 1) as weight,
               (rule ->> 'concurrency')::int as concurrency,
               least(at_once, coalesce(s.left_over + per_second * extract(epoch from clock_timestamp() - s.counted_at), at_once))
               as may_take
          from waiting w
          cross join lateral (select coalesce(p_shares -> w.tenant, p_shares -> '*', '{}') as rule) as of_tenant
          cross join lateral (select (rule ->> 'starts_per_minute')::double precision / 60 as per_second) as rate
          -- Two seconds' worth: who admits looks once a second at least.
          cross join lateral (
              select case when per_second is not null then greatest(per_second * 2, 1) end as at_once) as burst
          left join treadle.share s on s.route = p_route and s.tenant = w.tenant
         where w.tenant is not null
    ),
    next as (
        select t.run_id, r.tenant, r.concurrency, r.may_take, t.seq,
               r.start + (t.place - 1) / r.weight as begins, r.start + t.place / r.weight as passes
          from ruled r
          cross join lateral (
              select q.run_id, q.seq, row_number() over (order by q.priority, q.seq) as place
                from treadle.turn q
               where q.route = p_route and q.tenant = r.tenant
                 and exists (select from treadle.run o where o.run_id = q.run_id and o.status = 'pending')
               order by q.priority, q.seq
               limit greatest(0, least(
                   p_room, floor(r.may_take)::int,
                   r.concurrency - (select count(*)::int from treadle.admission a
                                     where a.route = p_route and a.tenant = r.tenant)))) as t
         order by begins, t.seq limit p_room
    ),
    taken as (
        delete from treadle.turn t using next n where t.run_id = n.run_id
        returning t.*, n.begins, n.concurrency
    ),
    passed as (
        insert into treadle.share as s (route, tenant, passed, left_over)
        select p_route, n.tenant, max(n.passes), max(n.may_take) - count(*) from next n group by n.tenant
        union all
        select p_route, '', max(n.begins), null from next n having count(*) > 0
        on conflict (route, tenant) do update
           set passed = excluded.passed, left_over = excluded.left_over, counted_at = clock_timestamp()
    ),
    admitted as (
        insert into treadle.admission (thread_id, run_id, tenant, route)
        select distinct on (t.thread_id) t.thread_id, t.run_id, t.tenant, t.route
          from taken t where t.concurrency is not null
        on conflict (thread_id) do update set run_id = excluded.run_id
    )
    select t.run_id, t.thread_id, t.tenant, t.route, t.attempt, t.priority, t.seq
      from taken t order by t.begins, t.seq;
end $$;
