-- Times to live of fractions of a minute: langgraph's own table keeps whole minutes, and a read that refreshes an item of
-- twenty seconds would end it. Stock stores write and read the column as before.
alter table store alter column ttl_minutes type double precision;

-- Checkpoints that lie in a checkpointer of the user's own cannot be removed in the transaction that removes their run or
-- thread. So it leaves word of them, wherever it comes from, and whoever has that checkpointer removes them later.
create table treadle.custom_checkpointer (only_one boolean primary key default true check (only_one));

create table treadle.orphan (
    id        bigint generated always as identity primary key,
    thread_id uuid not null,
    run_id    uuid  -- null: all of the thread
);
create index orphan_thread on treadle.orphan (thread_id);

create function treadle.leave_orphaned_runs() returns trigger language plpgsql as $$
begin
    if exists (select from treadle.custom_checkpointer) then
        insert into treadle.orphan (thread_id, run_id) select thread_id, run_id from gone;
    end if;
    return null;
end $$;
create trigger leave_orphans after delete on treadle.run
    referencing old table as gone for each statement execute function treadle.leave_orphaned_runs();

create function treadle.leave_orphaned_threads() returns trigger language plpgsql as $$
begin
    if exists (select from treadle.custom_checkpointer) then
        insert into treadle.orphan (thread_id) select thread_id from gone;
    end if;
    return null;
end $$;
create trigger leave_orphans after delete on treadle.thread
    referencing old table as gone for each statement execute function treadle.leave_orphaned_threads();
