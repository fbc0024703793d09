"""Examples that `tests/examples` checks. The Python examples use parts of `tests`: a Hub on
loopback, tiny models, and a worker in its own process."""
