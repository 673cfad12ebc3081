"""Outside systems that a project may switch on, such as experiment trackers.

Belongs here: one module for each system, loaded only where params.yaml names it, and what all of them are given.
Does not: what a run or a review is; that is in ``training`` and ``review``.
"""
