"""The hooks' own decisions, without baking: which answers are refused, and in which words."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from conftest import PYTHONS, TEMPLATE
from hypothesis import example, given
from hypothesis import strategies as st


def load(name: str) -> ModuleType:
    """A hook as a module: the one Jinja expression in it stands in `main` and is valid Python."""
    spec = importlib.util.spec_from_file_location(name, TEMPLATE / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pre = load("pre_gen_project")
post = load("post_gen_project")

GOOD = {
    "project_name": "Customer churn",
    "project_slug": "customer-churn",
    "package_name": "customer_churn",
    "description": "Who will stay?",
    "github_owner": "some-one",
    "python_version": "3.11",
}


def test_the_supported_pythons():
    assert pre.PYTHONS == PYTHONS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project_name", 'Änna\'s "Best" Model; rm -rf /'),
        ("project_name", "🚀 👩‍🔬"),
        ("project_slug", "a"),
        ("project_slug", "Model.v2_x"),
        ("project_slug", "console"),
        ("project_slug", "x" * 100),
        ("package_name", "churn2"),
        ("package_name", "match"),
        ("description", ""),
        ("description", "\\ ' \" ` $HOME 🚀" + "x" * 300),
        ("github_owner", "a"),
        ("github_owner", "x" * 39),
        ("python_version", "3.14"),
    ],
)
def test_good_answers_pass(field: str, value: str):
    assert pre.problems({**GOOD, field: value}) == []


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("project_name", "", "empty"),
        ("project_name", "  ", "empty"),
        ("project_name", "two\nlines", "U+000A"),
        ("project_name", "bell\a", "U+0007"),
        ("project_name", "turned \u202e around", "U+202E"),
        ("project_name", "\udcff", "U+DCFF"),
        ("project_slug", "_", "letter or digit"),
        ("project_slug", "", "no repository name"),
        ("project_slug", ".", "no repository name"),
        ("project_slug", "..", "no repository name"),
        ("project_slug", "a/b", "no repository name"),
        ("project_slug", "a b", "no repository name"),
        ("project_slug", "änna", "no repository name"),
        ("project_slug", "-model", "no repository name"),
        ("project_slug", "model.", "no repository name"),
        ("project_slug", "model.git", "GitHub keeps"),
        ("project_slug", "Model.WIKI", "GitHub keeps"),
        ("project_slug", "nul", "Windows"),
        ("project_slug", "COM1.model", "Windows"),
        ("project_slug", "scikit-learn", "project uses"),
        ("project_slug", "Scikit_Learn", "project uses"),
        ("project_slug", "x" * 101, "101 characters"),
        ("package_name", "", "no package name"),
        ("package_name", "2024_model", "no package name"),
        ("package_name", "my-model", "no package name"),
        ("package_name", "_model", "no package name"),
        ("package_name", "class", "keyword"),
        ("package_name", "None", "keyword"),
        ("package_name", "Json", "standard library"),
        ("package_name", "aux", "Windows"),
        ("package_name", "sklearn", "project uses"),
        ("package_name", "Pandas", "project uses"),
        ("package_name", "tests", "project uses"),
        ("package_name", "src", "project uses"),
        ("package_name", "x" * 61, "61 characters"),
        ("description", "x" * 351, "351 characters"),
        ("description", "two\r\nlines", "U+000D"),
        ("github_owner", "", "no GitHub name"),
        ("github_owner", "-a", "no GitHub name"),
        ("github_owner", "a-", "no GitHub name"),
        ("github_owner", "a--b", "no GitHub name"),
        ("github_owner", "a_b", "no GitHub name"),
        ("github_owner", "a/b", "no GitHub name"),
        ("github_owner", "x" * 40, "no GitHub name"),
        ("python_version", "3.10", "not supported"),
        ("python_version", "3.15", "not supported"),
        ("python_version", "", "not supported"),
        ("python_version", "3.11 ", "not supported"),
    ],
)
def test_a_bad_answer_gives_one_line_that_names_it(field: str, value: str, says: str):
    lines = pre.problems({**GOOD, field: value})
    assert len(lines) == 1
    assert lines[0].startswith(f"{field}: ")
    assert says in lines[0]


@pytest.mark.parametrize("owner", ["acme", "acme/data-science/churn", "a_b", "x" * 40, "a.b"])
def test_a_group_of_gitlab_has_a_path(owner: str):
    assert pre.problems({**GOOD, "ci": "gitlab", "github_owner": owner}) == []


@pytest.mark.parametrize("owner", ["", "/a", "a/", "a//b", "a b", "-a", "a.", "a/../b", "x" * 256])
def test_what_is_no_group_of_gitlab_is_refused(owner: str):
    [line] = pre.problems({**GOOD, "ci": "gitlab", "github_owner": owner})
    assert line.startswith("github_owner: ")
    assert "no user or group of GitLab" in line


@pytest.mark.parametrize("ci", ["gitlab", "jenkins"])
def test_answers_that_do_not_go_together_are_refused_with_the_reason(ci: str):
    [line] = pre.problems({**GOOD, "ci": ci, "deploy": "kubernetes"})
    assert line.startswith(f"deploy: kubernetes does not go with ci={ci}: `ml deploy` reads releases of GitHub")


def test_names_made_from_one_another_are_refused_once():
    lines = pre.problems({**GOOD, "project_name": "", "project_slug": "_", "package_name": "_"})
    assert [line.split(":")[0] for line in lines] == ["project_name"]


def test_independent_answers_are_refused_together():
    lines = pre.problems({**GOOD, "package_name": "class", "github_owner": "-", "python_version": "2.7"})
    assert [line.split(":")[0] for line in lines] == ["package_name", "github_owner", "python_version"]


@given(st.fixed_dictionaries({field: st.text() | st.just(value) for field, value in GOOD.items()}))
@example(dict.fromkeys(GOOD, "\U0010ffff" * 60))
def test_whatever_is_answered_each_refusal_is_one_line(answers: dict[str, str]):
    for line in pre.problems(answers):
        assert line.splitlines() == [line]
        assert line.isprintable()
        assert len(line) < 250


@given(st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True))
def test_an_accepted_slug_is_a_folder_and_a_distribution_everywhere(slug: str):
    if pre.slug_problem(slug) is None:
        assert Path(slug).name == slug
        assert slug[0].isalnum()
        assert slug[-1].isalnum()


@given(st.text(max_size=20) | st.sampled_from(sorted(sys.stdlib_module_names)))
def test_an_accepted_package_can_be_imported_and_hides_nothing(package: str):
    if pre.package_problem(package) is None:
        assert package.isidentifier()
        assert package not in sys.stdlib_module_names


def test_every_direct_dependency_is_refused_as_a_name():
    text = (TEMPLATE / "{{cookiecutter.project_slug}}" / "pyproject.toml").read_text(encoding="utf-8")
    distributions = re.findall(r'^    "([a-z0-9-]+)>=', text, flags=re.MULTILINE)
    assert "scikit-learn" in distributions
    for name in distributions:
        assert pre.slug_problem(name), name
        assert pre.package_problem(name.replace("-", "_")), name


def test_long_values_are_cut_and_control_characters_escaped():
    assert len(pre.shown("x" * 300)) < 70
    assert pre.shown("a\nb") == r"'a\nb'"


@pytest.mark.parametrize(
    ("parts", "answers", "expected"),
    [
        (("tmpabc", "churn"), {"_commit": "1"}, True),
        (("tmpabc", "churn"), {}, False),
        (("work", "churn"), {"_commit": "1"}, False),
        (("work", "tmpabc", "churn"), {"_commit": "1"}, False),
    ],
)
def test_comparisons_of_cruft_are_recognised(parts: tuple[str, ...], answers: dict[str, str], expected: bool):
    assert post.is_cruft_comparison(answers, Path(tempfile.gettempdir(), *parts)) is expected


def test_a_program_that_is_not_there_is_no_error():
    assert post.run("no-such-program-anywhere") is None
    assert post.succeeds("no-such-program-anywhere") is False
