"""The benchmark: a real `treadle dev`, driven over HTTP as its users drive it."""
