"""Operating system: processes, signals, git, and output files that are written atomically.

Belongs here: code that must survive a kill, a full disk or two commands at once.
Does not: the content of the files.
"""
