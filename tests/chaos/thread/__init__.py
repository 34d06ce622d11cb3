"""One thread, driven through everything that can happen to it, beside a model of what must come of it."""
