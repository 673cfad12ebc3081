"""Read files into a typed table, identify its rows, and split them.

Belongs here: readers, row identity, sampling units, splits.
Does not: anything that needs a model.
"""
