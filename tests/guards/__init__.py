"""Each promise of the threat model, the guard in the code that keeps it, and the test that
fails without it: `python -m tests.guards` removes each guard in turn and runs its test."""
