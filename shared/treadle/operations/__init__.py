"""Operations that several services share: what it means to make a run, or to cancel one."""
