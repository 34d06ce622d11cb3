"""Long-term memory: langgraph's Postgres store with its edges taken off, or a store of the user's own."""
