"""Build a bento and a container image from a run, and smoke-test a running server.

Belongs here: export of a run, the build, verification of what was built.
Does not: code that runs in the image.
"""
