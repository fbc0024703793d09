"""Sends requests as OpenTelemetry spans to the operator's collector.

Without a configured collector, only `collector.py` is imported.
"""
