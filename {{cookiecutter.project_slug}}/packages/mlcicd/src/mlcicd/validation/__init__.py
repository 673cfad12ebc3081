"""Validate tables and requests against the contract: logical types, rules and request validation.

Belongs here: how a value is converted and checked, in the same way for tables and requests.
Does not: reading files; that is in ``data``.
"""
