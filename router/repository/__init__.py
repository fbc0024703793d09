"""What a repository holds: the files that an engine needs, its task, whether it can be served.

Decided from its list of files and its small configuration files alone.
"""
