"""Builds a fleet: replicas, ingresses, and the Ray application of both. Needs Ray."""
