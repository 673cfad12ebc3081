"""One value, one answer by every door, and contracts that are refused at load; tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_hostile_contracts_are_refused_in_one_line(project: Project):
    passes_inside(project, "hostile.py")


def test_a_value_gets_one_answer_by_every_door(project: Project):
    passes_inside(project, "doors.py")


def test_patterns_mean_one_thing_and_take_linear_time(project: Project):
    passes_inside(project, "patterns.py")


def test_large_whole_numbers_keep_their_digits(own_table: Project):
    passes_inside(own_table, "integers.py")


def test_a_contract_says_what_it_means_or_is_refused(project: Project):
    passes_inside(project, "strictness.py")
