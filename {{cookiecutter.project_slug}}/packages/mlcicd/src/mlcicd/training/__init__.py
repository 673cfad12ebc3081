"""One training and the folder it writes: search, fit, diagnostics, the model file, the run.

Belongs here: what happens between a checked table and a finished run.
Does not: comparing two runs; that is in ``review``.
"""
