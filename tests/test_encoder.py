"""The model sees what the contract promises: tested where skrub and scikit-learn are, inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_text_stays_the_text_it_is_on_every_way_to_the_model(own_table: Project):
    passes_inside(own_table, "encoder.py")
