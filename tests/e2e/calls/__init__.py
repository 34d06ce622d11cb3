"""A call of every method of the public Python client, one module for each of its parts, one coroutine for each method.

Each coroutine gives every parameter of its method at least once, and checks what comes back. They are written
once for both clients: see sdk.py.
"""
