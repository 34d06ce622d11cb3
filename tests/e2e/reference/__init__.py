"""Conversations with a server of the protocol, recorded once from the reference server and replayed against ours."""
