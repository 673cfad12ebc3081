"""Bytes from other machines: what an address may be, file systems by fsspec, retries, and what went wrong in one line.

Belongs here: whatever must answer within a limit of time, and must never show a credential.
Does not: what pins a raw file; that is in ``sources``.
"""
