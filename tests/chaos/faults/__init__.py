"""The faults of the suite: on processes, on servers, on the network between them."""
