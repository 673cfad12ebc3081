"""``data.lock``, and the addresses in it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.core.errors import InputError
from mlcicd.remote import addresses
from mlcicd.sources import lock
from mlcicd.training import run
from test_review import commit, git

NAMES = st.text(
    st.characters(codec="utf-8", categories=["L", "N"], include_characters="-_. =#:'\""), min_size=1
).filter(lambda name: name not in (".", "..") and name.isprintable())
LOCKED = st.builds(
    lock.Locked,
    revision=st.text(st.sampled_from(string.ascii_letters + string.digits + "-:+/\"'#")),
    size=st.integers(0, 2**50),
    sha256=st.text(st.sampled_from("0123456789abcdef"), min_size=64, max_size=64),
)
ENTRIES = st.one_of(
    st.builds(lock.Entry, location=st.just("s3://bucket/a.csv"), file=LOCKED),
    st.builds(
        lock.Entry,
        location=st.just("gs://bucket/folder/*.parquet"),
        endpoint=st.sampled_from([None, "http://minio:9000"]),
        parts=st.dictionaries(NAMES, LOCKED, min_size=1, max_size=4),
    ),
)
DIGEST = "0" * 64


@settings(max_examples=50)
@given(st.dictionaries(NAMES, ENTRIES, max_size=4))
def test_what_is_written_is_read_again_and_written_the_same(entries):
    text = lock.written(entries)
    assert lock.parse(text, "data.lock") == entries
    assert lock.written(dict(reversed(entries.items()))) == text


def test_a_part_is_a_line_so_that_a_review_shows_which_has_changed():
    parts = {f"{n}.parquet": lock.Locked(revision=f"version-id:{n}", size=n, sha256=DIGEST) for n in range(3)}
    text = lock.written({"data/t": lock.Entry(location="s3://b/t/", parts=parts)})
    assert text.count("\n") == 9
    assert f"1.parquet: {{revision: 'version-id:1', size: 1, sha256: '{DIGEST}'}}" in text


def test_the_version_of_a_folder_is_the_hash_that_a_manifest_has(tmp_path):
    parts = {}
    for name in ("b.csv", "a.csv", "a b.csv"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        parts[name] = lock.Locked(size=len(name), sha256=run.sha256(tmp_path / name) or "")
    assert lock.Entry(location="s3://b/t/", parts=parts).version == f"sha256:{run.sha256(tmp_path)}"


def test_a_commit_has_a_lock_of_its_own_and_what_is_no_longer_declared_is_dropped(tmp_path):
    git(tmp_path, "init", "--quiet")
    one, two = (
        lock.Entry(location="s3://b/k", file=lock.Locked(revision=f"etag:{n}", size=n, sha256=DIGEST)) for n in (1, 2)
    )
    assert lock.read(tmp_path) == {}
    lock.update(tmp_path, {"data/a": one, "data/b": one}, {"data/a", "data/b"})
    commit(tmp_path, {})
    lock.update(tmp_path, {"data/a": two}, {"data/a"})
    assert lock.read(tmp_path) == {"data/a": two}
    assert lock.read(tmp_path, "HEAD") == {"data/a": one, "data/b": one}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", lock.FILE]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "version: 2\nfiles: {}",
        "<<<<<<< HEAD\nversion: 1\n",
        "version: 1\nfiles: {a: {location: 's3://b/k'}}",
        f"version: 1\nfiles: {{a: {{location: 'b/k', file: {{size: 1, sha256: '{DIGEST}'}}}}}}",
        f"version: 1\nfiles: {{a: {{location: 's3://b/', parts: {{../x: {{size: 1, sha256: '{DIGEST}'}}}}}}}}",
        f"version: 1\nfiles: {{a: {{location: 's3://b/k', file: {{size: 1, sha256: '{DIGEST}', sha: 1}}}}}}",
    ],
)
def test_what_is_no_lock_is_one_line_with_the_remedy(text):
    with pytest.raises(InputError, match=r"^data\.lock: .*'ml data pin'$") as caught:
        lock.parse(text, "data.lock")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "https://someone:s3cret@example.org/a.csv",
        "https://s3cret@example.org/a.csv",
        "https://example.org/a.csv?X-Amz-Signature=s3cret",
        "https://example.org/a.csv?sig=s3cret&se=2026",
        "https://example.org/a.csv?x=1&access_token=s3cret",
        "s3://AKIA:s3cret@bucket/a.csv",
    ],
)
def test_an_address_with_a_credential_is_refused_and_not_shown(location):
    with pytest.raises(ValueError, match="holds a credential") as caught:
        addresses.checked(location)
    assert "s3cret" not in str(caught.value)
    document = f"version: 1\nfiles: {{a: {{location: '{location}', file: {{size: 1, sha256: '{DIGEST}'}}}}}}"
    with pytest.raises(InputError, match="holds a credential") as refused:
        lock.parse(document, "data.lock")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "location", ["", "a.csv", "s3:/b/k", "s3://", "s3://b/a b", "http://example.org/a.csv", "S3://b"]
)
def test_what_is_no_address_is_refused(location):
    with pytest.raises(ValueError, match=r"^location '"):
        addresses.checked(location)
    assert addresses.checked("http://127.0.0.1:8000/a.csv?download=1")
