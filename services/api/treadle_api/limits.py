"""What a request may hold."""

# Inputs of runs may hold documents and images.
MAX_BODY_BYTES = 64 * 1024 * 1024
