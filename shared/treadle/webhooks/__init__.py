"""Webhooks: where they may go, how they are signed and sent, and when they are tried again."""
