"""`make compare`: send requests of every route to a real SGLang, directly and via the router.

Each request of `cases.CASES` goes to the engine's own port and then to the router. The two
answers are compared: status, headers, and body or sequence of events. Ids and times are masked.
The prefix cache is emptied before each request, so that even the cached tokens agree.
`expected.py` lists the allowed differences with their reasons. Any other difference fails, and
so does an expected one that does not occur.
"""
