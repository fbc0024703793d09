"""`make compare`: every route of a real SGLang, asked directly and through the router.

Each request of `cases.CASES` goes to the engine's own port and then to the router, and the
two answers are compared: status, headers, body, or the sequence of events. Ids and times are
masked; the prefix cache is emptied before each, so that even cached tokens agree. What may
differ stands in the list, request by request, with its reason (`expected.py`); anything else
is a difference, and so is an expected one that does not show.
"""
