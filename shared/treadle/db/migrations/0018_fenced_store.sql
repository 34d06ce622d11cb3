-- What the node of a run writes into the store is fenced as its checkpoints are: in the transaction of the write.

-- Hold a run for an attempt that wants to write, so that a takeover waits until the write has committed; raise if the attempt
-- has lost the right to.
--
-- A run that has ended as `success` was ended by its newest attempt itself: what it left to be written after its end (memories
-- that are formed in the background, say) may be. Any other end may be another's doing.
create function treadle.hold_attempt(p_run uuid, p_attempt int) returns void language plpgsql as $$
begin
    perform from treadle.run
      where run_id = p_run and attempt = p_attempt and status in ('running', 'success') for share;
    if not found then
        raise exception 'attempt % of run % may write no more', p_attempt, p_run using errcode = 'TR001';
    end if;
end $$;
