"""Where raw data is stored: in git, in Git LFS or in DVC; what pins a file, whether it is here, and how it is fetched.

Belongs here: one module per kind of store, and what asks all of them.
Does not: what is in the files; that is in ``data``.
"""
