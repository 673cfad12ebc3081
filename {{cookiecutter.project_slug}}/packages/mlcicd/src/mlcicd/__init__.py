"""The machinery between your table and a reviewed model: the command ``ml``.

Template updates replace this package; your own code lies in ``src/``.
"""
