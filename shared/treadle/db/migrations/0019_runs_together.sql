-- Runs that are accepted together, each as if it were accepted alone: many clients share one transaction.

-- Accept one of them, as `create_run` does. Whoever would have to wait comes back as `locked`, with nothing done, and is accepted
-- by itself: it must not make the others wait, who hold their threads meanwhile. So there is no circle of those that wait either,
-- in whatever order they come. A thread that is to be made under an id of the client's choice may be in the making elsewhere, and
-- counts as locked too.
create function treadle.create_run_beside(
    p_run uuid, p_thread uuid, p_assistant uuid, p_graph text, p_kwargs json, p_metadata jsonb,
    p_strategy text, p_if_not_exists text, p_delay interval, p_route text, p_stateless boolean,
    p_thread_metadata jsonb, p_thread_config jsonb, p_revision uuid
) returns treadle.create_result language plpgsql as $$
begin
    if not p_stateless then
        perform from treadle.thread where thread_id = p_thread for no key update skip locked;
        if not found and (p_if_not_exists = 'create'
                          or exists (select from treadle.thread where thread_id = p_thread)) then
            return row('locked', '[]'::jsonb, null)::treadle.create_result;
        end if;
    end if;
    if p_revision is not null
       and not exists (select from treadle.assistant where assistant_id = p_assistant and revision = p_revision) then
        return row('assistant_changed', '[]'::jsonb, null)::treadle.create_result;
    end if;
    return treadle.create_run(p_run, p_thread, p_assistant, p_graph, p_kwargs, p_metadata, p_strategy,
                              case when p_stateless then p_if_not_exists else 'reject' end,
                              p_delay, p_route, p_stateless, p_thread_metadata, p_thread_config);
end $$;
