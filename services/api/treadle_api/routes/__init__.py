"""Routes: each parses a request, calls one operation, and shapes the answer."""
