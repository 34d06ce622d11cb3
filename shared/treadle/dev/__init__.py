"""`treadle dev`: real servers from their wheels, and the services, started and kept running as processes.

Nothing in here is imported by a service, and nothing in here imports langgraph or the HTTP framework: the
process that watches the others stays small and quick to start.
"""
