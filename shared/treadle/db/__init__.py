"""Postgres: the pool, the migrations and every statement, one module per table family."""
