"""Operations: what a request means, in terms of Postgres, NATS, Redis and the graphs."""
