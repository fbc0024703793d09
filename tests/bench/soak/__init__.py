"""Measures what a worker holds after more and more requests."""
