"""The worker: takes wake-ups, claims runs under leases, executes them, and writes how they ended."""
