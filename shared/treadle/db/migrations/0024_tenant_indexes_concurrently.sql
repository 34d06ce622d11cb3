-- The orders of 0004, tenant by tenant: no search looks at more than one. Built while threads are written to; what was left of an
-- attempt that was broken off is taken away first.
drop index concurrently if exists treadle.thread_of_tenant_by_update;
create index concurrently thread_of_tenant_by_update on treadle.thread (tenant, updated_at, thread_id)
    where gone_at is null;
drop index concurrently if exists treadle.thread_of_tenant_by_creation;
create index concurrently thread_of_tenant_by_creation on treadle.thread (tenant, created_at, thread_id)
    where gone_at is null;
drop index concurrently if exists treadle.thread_of_tenant_waiting;
create index concurrently thread_of_tenant_waiting on treadle.thread (tenant, status, updated_at, thread_id)
    where gone_at is null and status in ('interrupted', 'error');
drop index concurrently if exists treadle.thread_by_update;
drop index concurrently if exists treadle.thread_by_creation;
drop index concurrently if exists treadle.thread_waiting;
