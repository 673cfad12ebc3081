"""``ml init``: infer ``contract.yaml`` and ``params.yaml`` from a table.

Belongs here: inference, with a reason for each decision.
Does not: anything that later commands need.
"""
