"""Lists the promises of the threat model. Each entry names the guard in the code that keeps the
promise, and a test that fails without it. `python -m tests.guards` removes each guard in turn
and runs its test."""
