"""A chat agent that calls tools, on a real model or on a rule-based one."""
