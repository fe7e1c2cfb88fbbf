"""What an operator types for a repository, as the path that BinderHub's ``/build`` takes."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from binder_node.errors import InputError, Problem

# BinderHub's own prefixes whose rest is a specification of its own (binderhub/repoproviders.py).
PREFIXES = ("gh", "gl", "gist", "git", "zenodo", "figshare", "hydroshare", "dataverse", "ckan")
# Those of them without a ref: a DOI or an address says all.
WITHOUT_REF = ("zenodo", "figshare", "hydroshare", "dataverse", "ckan")
SCHEMES = ("http", "https", "git", "ssh")
ASK = "write gh/ORG/NAME, https://github.com/ORG/NAME or the URL of a git repository"
# scp's form, as git takes it: git@host:path. A host alone has no slash before the colon.
SCP = re.compile(r"[\w.-]+@[\w.-]+:[^/].*")


def parse_repo(repo: str, ref: str = "HEAD") -> str:
    """``provider/spec`` for ``/build/``, without a leading slash.

    Raises:
        InputError: this is no repository that BinderHub could know.

    >>> parse_repo("gh/binder-examples/requirements")
    'gh/binder-examples/requirements/HEAD'
    >>> parse_repo("https://github.com/binder-examples/requirements.git", "master")
    'gh/binder-examples/requirements/master'
    >>> parse_repo("http://198.18.0.10/minimal.git")
    'git/http%3A%2F%2F198.18.0.10%2Fminimal.git/HEAD'
    """
    repo, ref = repo.strip(), ref.strip() or "HEAD"
    if "://" in repo or SCP.fullmatch(repo):
        return _of_url(repo, ref)
    prefix, _, rest = repo.strip("/").partition("/")
    if prefix not in PREFIXES or not rest:
        raise _refused(repo)
    if prefix in WITHOUT_REF:
        return f"{prefix}/{rest}"
    # Enough parts to hold a ref already: mybinder.org's own form, as it stands in links.
    parts, least = rest.split("/"), {"gh": 2, "gist": 2, "gl": 1, "git": 1}[prefix]
    if prefix in ("gl", "git") and "%" not in parts[0]:
        # A plain namespace or address, which has to be one part of the path.
        return f"{prefix}/{quote(rest, safe='')}/{_ref(prefix, ref)}"
    if len(parts) < least or not all(parts):
        raise _refused(repo)
    return f"{prefix}/{rest}" if len(parts) > least else f"{prefix}/{rest}/{_ref(prefix, ref)}"


def _of_url(url: str, ref: str) -> str:
    if SCP.fullmatch(url):
        return f"git/{quote(url, safe='')}/{_ref('git', ref)}"
    try:
        found = urlsplit(url)
        host = (found.hostname or "").lower()
    except ValueError:
        raise _refused(url) from None
    if found.scheme not in SCHEMES or not host:
        raise _refused(url)
    path = found.path.strip("/")
    parts = path.removesuffix(".git").split("/")
    if host in ("github.com", "www.github.com"):
        if len(parts) >= 4 and parts[2] in ("tree", "commit"):
            return f"gh/{parts[0]}/{parts[1]}/{_ref('gh', '/'.join(parts[3:]))}"
        if len(parts) != 2 or not all(parts):
            raise _refused(url)
        return f"gh/{parts[0]}/{parts[1]}/{_ref('gh', ref)}"
    if host == "gitlab.com" and len(parts) >= 2:
        return f"gl/{quote('/'.join(parts), safe='')}/{_ref('gl', ref)}"
    if not path:
        raise _refused(url)
    return f"git/{quote(url, safe='')}/{_ref('git', ref)}"


def _ref(prefix: str, ref: str) -> str:
    """BinderHub unquotes the refs of ``git`` and ``gl``, and takes those of GitHub as they are, slashes too."""
    return quote(ref, safe="" if prefix in ("git", "gl") else "/")


def _refused(repo: str) -> InputError:
    return InputError(Problem("", 0, "REPO", f"{repo!r} is no repository that BinderHub knows", ASK))
