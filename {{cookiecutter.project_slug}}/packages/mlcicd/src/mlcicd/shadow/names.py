"""The words that the mirror's metrics are written and read by."""

from __future__ import annotations

VARIABLE = "ML_SHADOW_URL"
# Sides of a pair.
RUNNING, SHADOW = "running", "shadow"
# What becomes of a copy. Where the shadow answers with another status than 200, its outcome is that status.
COMPARED = "compared"
DROPPED = "dropped"  # there was no room for it
AWAY = "away"  # the shadow did not answer a copy before, so this one was not sent
UNREACHABLE = "unreachable"  # no connection, or no answer in time
UNREADABLE = "unreadable"  # the answer has another form
COPIES = "ml_shadow_requests_total"
