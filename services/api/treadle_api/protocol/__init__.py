"""The event streaming protocol (version 2): commands, and events of a thread by channel and namespace."""
