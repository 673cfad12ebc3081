"""After training and release: drift, model card, audit, and pages about the data and the releases.

Belongs here: code that examines a finished run or a release.
Does not: serving it.
"""
