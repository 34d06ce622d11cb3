"""What clients get, typed: domain values as the protocol shows them."""
