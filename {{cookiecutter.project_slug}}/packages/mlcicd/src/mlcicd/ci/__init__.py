"""What a CI says of its job, and what is to be done in it: one module for each CI, standard library alone.

Belongs here: what branches of a workflow decide: the base, what changed, whether to train, the name of a release.
Does not: calls of a CI's API, and the commands that train and review.
"""
