"""Baseline against candidate: comparison, what changed, the verdict and its report.

Belongs here: what needs two runs.
Does not: pages about one model; those are in ``lifecycle``.
"""
