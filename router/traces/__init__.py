"""Tells the operator's collector of requests, as spans of OpenTelemetry.

Nothing here but `collector.py` is imported where no collector is configured.
"""
