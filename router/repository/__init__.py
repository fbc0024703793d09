"""Examines a repository: the files that an engine needs, its task, and whether it can be
served.

It uses only the list of files and the small configuration files.
"""
