"""The document ``contract.yaml``: its schema, loading it, and the differences between two versions of it.

Belongs here: what the document may contain.
Does not: checking data against it; that is in ``validation``.
"""
