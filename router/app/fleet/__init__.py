"""Puts a fleet together: replicas, ingress, and the application of both. Needs Ray."""
