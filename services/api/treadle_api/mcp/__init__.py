"""The Model Context Protocol: every assistant is a tool. The protocol itself is the `mcp` package's affair."""
