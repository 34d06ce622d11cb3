"""The HTTP API: the Agent Server protocol, as `langgraph-sdk` clients speak it."""
