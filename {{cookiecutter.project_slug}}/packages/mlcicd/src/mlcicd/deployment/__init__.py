"""Roll a release out to where it runs: try it, promote it, go back.

Belongs here: what a release is, the order of a roll-out, one module for each target.
Does not: the manifests, which are the project's own files; building the image.
"""
