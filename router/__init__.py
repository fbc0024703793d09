"""A router for many models on one GPU worker."""

__version__ = "0.1.0"
