"""What clients send and get, typed, whichever way it goes: over HTTP, or over NATS."""
