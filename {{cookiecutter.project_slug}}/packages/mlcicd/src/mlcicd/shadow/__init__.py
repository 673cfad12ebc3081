"""Shadow: another version gets copies of the requests, and what it answers is compared with what runs.

Belongs here: the mirror inside the service, its metrics, and what they say of the other version.
Does not: where the other version runs (``deployment``) and the service's own paths (``serving``).
"""
