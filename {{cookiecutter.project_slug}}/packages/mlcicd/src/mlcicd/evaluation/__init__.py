"""Metrics with their uncertainty, decision thresholds, slices, and distances between samples.

Belongs here: arrays of targets and predictions in, numbers out.
Does not: fitting models, or files of runs.
"""
