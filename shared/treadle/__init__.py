"""Treadle: an open, self-hosted Agent Server for LangGraph graphs."""
