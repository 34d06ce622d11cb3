"""Answers a question from Markdown files, with quotes, once a human has approved the draft."""
