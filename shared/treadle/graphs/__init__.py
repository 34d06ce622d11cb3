"""The user's graphs: langgraph.json, loading, and what a run gets of them."""
