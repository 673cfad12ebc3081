"""Where independent work runs: on this machine, or on a Dask cluster; results come in the order of the work.

Belongs here: one module per kind of place, and how code, data and errors travel.
Does not: what is computed; that is in ``training``, ``data``, ``scoring`` and ``lifecycle``.
"""
