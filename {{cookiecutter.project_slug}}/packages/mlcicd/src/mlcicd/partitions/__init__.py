"""Tables in parts, larger than memory: a part at a time, on this machine or a cluster, merged exactly.

Belongs here: how a table is divided, and what is merged of its parts: findings, repeats, samples.
Does not: where the parts are worked on (``compute``) and reading them into data frames (``data``).
"""
