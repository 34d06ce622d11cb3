-- What is kept for a while: runs that ended on threads that live on, and dead letters; docs/retention.md has the table. And
-- what the duties of the scheduler need so that a round costs what it finds to do, and no more.

-- What the sweeper looks for, in the order of its looking: it reads neither runs that wait for their time nor those that
-- have only just come, and goes on at a place that is one run's alone. The former index of runs that wait had neither.
create index run_untold on treadle.run (greatest(updated_at, not_before), seq) where status = 'pending';
drop index treadle.run_waiting;

-- The order in which they ended, each by its place.
create index run_ended on treadle.run (ended_at, seq) where ended_at is not null;
create index dead_letter_age on treadle.dead_letter (created_at);
create index dead_letter_of_run on treadle.dead_letter (run_id);

-- As in 0007, except where the checkpoints of the removed runs stay: they are part of their thread's history.
create or replace function treadle.leave_orphaned_runs() returns trigger language plpgsql as $$
begin
    if current_setting('treadle.checkpoints_stay', true) is distinct from 'on'
       and exists (select from treadle.custom_checkpointer) then
        insert into treadle.orphan (thread_id, run_id) select thread_id, run_id from gone;
    end if;
    return null;
end $$;

-- Look at the next runs in the order of their ends, from behind a place, and remove the rows of those that ended long ago,
-- except for the newest run of each thread, and those that have a dead letter. Checkpoints stay.
--
-- Every run is looked at once (until the next look from the first), so that the newest runs of many quiet threads cost
-- nothing after that. One that was passed over as its thread's newest is found again when a later run of the thread is
-- looked at: it goes then.
--
-- By index, run by run, whatever the statistics say: the table may have grown a thousandfold since they were made, and a
-- thread with very many runs lets all threads seem to have many.
create function treadle.forget_runs(
    p_keep interval, p_after timestamptz, p_after_seq bigint, p_limit int,
    out looked bigint, out gone bigint, out until timestamptz, out until_seq bigint
) language sql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    -- Until the transaction ends, which is this one statement's. As a setting of the function, only a superuser could make it.
    select set_config('treadle.checkpoints_stay', 'on', true);

    with looked as materialized (
        select run_id, thread_id, seq, created_at, ended_at from treadle.run
         where (ended_at, seq) > (p_after, p_after_seq) and ended_at < statement_timestamp() - p_keep
         order by ended_at, seq limit p_limit
    ), oldest as (
        select distinct on (thread_id) * from looked order by thread_id, created_at, seq
    ), over as (
        select l.run_id from looked l
         where exists (select from treadle.run newer
                        where newer.thread_id = l.thread_id and newer.created_at >= l.created_at
                          and newer.seq > l.seq)
        union all
        select passed.run_id from oldest o join treadle.run passed
            on passed.thread_id = o.thread_id and passed.created_at <= o.created_at
           and passed.seq < o.seq and passed.ended_at <= o.ended_at
    ), taken as (
        select r.run_id from treadle.run r
         where r.run_id in (select run_id from over)
           and not exists (select from treadle.dead_letter d where d.run_id = r.run_id)
           for update skip locked
    ), removed as (
        delete from treadle.run r using taken where r.run_id = taken.run_id returning 1
    ), last as (
        select ended_at, seq from looked order by ended_at desc, seq desc limit 1
    )
    select (select count(*) from looked), (select count(*) from removed),
           (select ended_at from last), (select seq from last);
$$;

-- As in 0004, found by the index: what is older than `clock_timestamp()` no index can be searched for, and all threads that
-- expire some day were read.
create or replace function treadle.expire_threads(p_limit int) returns setof uuid language plpgsql as $$
declare
    v_due uuid[];
begin
    select array_agg(due.thread_id) into v_due
      from (select t.thread_id from treadle.thread t
             where t.expires_at <= statement_timestamp() and t.ttl_strategy = 'delete' and t.status <> 'busy'
               and not exists (select from treadle.run r
                                where r.thread_id = t.thread_id and r.status in ('pending', 'running'))
             order by t.expires_at limit p_limit for update skip locked) as due;
    return query select treadle.delete_threads(v_due);
end $$;
