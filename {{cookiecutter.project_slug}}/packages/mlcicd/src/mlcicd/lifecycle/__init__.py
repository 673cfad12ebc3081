"""After training and release: the table of runs, drift, model card, audit, pages about data and releases.

Belongs here: code that examines a finished run or a release.
Does not: serving it.
"""
