"""Apply a run's model to rows: of a table, in parts, and of a request, few at a time.

Belongs here: what ``ml predict`` and the service share, and the files of predictions.
Does not: HTTP (``serving``) and training (``training``).
"""
