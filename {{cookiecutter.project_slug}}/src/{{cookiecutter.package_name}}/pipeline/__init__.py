"""The machinery between your table and a reviewed model.

Template updates replace this folder; yours are the files above it.
"""
