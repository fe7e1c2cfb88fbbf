"""What people type for a repository, as the path that BinderHub takes."""

from __future__ import annotations

import pytest

from binder_node.binder.repo import parse_repo
from binder_node.errors import InputError


@pytest.mark.parametrize(
    ("repo", "ref", "path"),
    [
        ("gh/binder-examples/requirements", "HEAD", "gh/binder-examples/requirements/HEAD"),
        ("gh/binder-examples/requirements", "a/branch", "gh/binder-examples/requirements/a/branch"),
        ("gh/binder-examples/requirements/v1", "HEAD", "gh/binder-examples/requirements/v1"),
        ("https://github.com/org/name", "v1", "gh/org/name/v1"),
        ("https://github.com/org/name.git", "HEAD", "gh/org/name/HEAD"),
        ("https://github.com/org/name/tree/a/branch", "HEAD", "gh/org/name/a/branch"),
        ("https://gitlab.com/group/sub/name", "main", "gl/group%2Fsub%2Fname/main"),
        ("gl/group/sub/name", "a/b", "gl/group%2Fsub%2Fname/a%2Fb"),
        ("http://198.18.0.10:8000/minimal.git", "a/b", "git/http%3A%2F%2F198.18.0.10%3A8000%2Fminimal.git/a%2Fb"),
        ("git://host.example/repo", "HEAD", "git/git%3A%2F%2Fhost.example%2Frepo/HEAD"),
        ("git@host.example:org/repo.git", "HEAD", "git/git%40host.example%3Aorg%2Frepo.git/HEAD"),
        ("gist/user/0123abcd", "HEAD", "gist/user/0123abcd/HEAD"),
        ("zenodo/10.5281/zenodo.3242074", "HEAD", "zenodo/10.5281/zenodo.3242074"),
        ("  gh/org/name ", "", "gh/org/name/HEAD"),
    ],
)
def test_path(repo: str, ref: str, path: str) -> None:
    assert parse_repo(repo, ref) == path


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "org/name",
        "gh/org",
        "gh//name",
        "https://github.com/org",
        "https://host.example/",
        "file:///etc",
        "http://[",
    ],
)
def test_what_is_no_repository_is_named_and_refused(repo: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_repo(repo)
    assert repr(repo) in str(caught.value)
    assert "gh/ORG/NAME" in str(caught.value)
