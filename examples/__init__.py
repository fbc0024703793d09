"""Examples that `tests/examples` checks. Those in Python use parts of `tests`: a Hub of their
own on loopback, tiny models, and a worker in a process of its own.
"""
