"""Checkpoints: the stock Postgres format, with writes fenced by the run's attempt."""
