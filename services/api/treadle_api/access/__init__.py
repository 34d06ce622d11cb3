"""Who may do what over HTTP and NATS: proving who asks, and asking whether they may."""
