"""Predictions over HTTP: the inference engine, the paths that it answers, and the BentoML service around them.

Belongs here: what runs in the container image.
Does not: building the image (``packaging``) and scoring of tables (``scoring``).
"""
