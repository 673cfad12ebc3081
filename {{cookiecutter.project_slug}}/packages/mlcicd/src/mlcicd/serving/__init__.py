"""Predictions: batch scoring, the inference engine, and the HTTP application around it.

Belongs here: what runs in the container image.
Does not: building the image; that is in ``packaging``.
"""
