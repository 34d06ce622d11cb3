"""The scheduler: crons, delayed runs, the sweeper, and what must be removed. Any number of processes; one leads."""
