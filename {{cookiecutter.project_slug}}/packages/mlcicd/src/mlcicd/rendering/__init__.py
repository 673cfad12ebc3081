"""Render report blocks as Markdown, HTML, terminal text and PNG.

Belongs here: how text, tables and curves are shown and escaped.
Does not: what a report says; that is in ``review`` and ``lifecycle``.
"""
