-- Run events by tenant: each is published under a subject that its tenant's services alone may be let hear.
alter table treadle.run_event add column tenant text not null default 'default';

create or replace function treadle.note_run_event() returns trigger language plpgsql as $$
begin
    insert into treadle.run_event (run_id, thread_id, assistant_id, attempt, status, graph_id, tenant)
    select new.run_id, new.thread_id, new.assistant_id, new.attempt, new.status, new.graph_id, t.tenant
      from treadle.thread t where t.thread_id = new.thread_id;
    return null;
end $$;

-- The thread may have been removed, and its runs with it: the run knows whose it was. Nothing can be read out of what has a NUL, which
-- no tenant's name has: it is taken for a space.
create or replace function treadle.note_run_removed() returns trigger language plpgsql as $$
begin
    insert into treadle.run_event (run_id, thread_id, assistant_id, attempt, status, graph_id, tenant)
    values (old.run_id, old.thread_id, old.assistant_id, old.attempt, 'rolled_back', old.graph_id,
            coalesce((select t.tenant from treadle.thread t where t.thread_id = old.thread_id),
                     replace(old.kwargs::text, '\u0000', '\u0020')::json ->> 'tenant', 'default'));
    return null;
end $$;
