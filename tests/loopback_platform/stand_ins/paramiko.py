"""Replaces paramiko: only the SDK's command line uses it, but importing it takes a tenth of
each start."""
