"""The Agent-to-Agent protocol: every assistant is an agent. The protocol itself is the `a2a-sdk` package's affair."""
