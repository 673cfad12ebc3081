"""Where raw data is stored: git, Git LFS, DVC, other machines; what pins a file, is it here, and how it is fetched.

Belongs here: one module per kind of store, and what asks all of them.
Does not: what is in the files; that is in ``data``.
"""
