"""A branch that nobody has built, pushed to a git repository from here with the operator's own rights."""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from binder_node.errors import DeadlineError, StepError
from binder_node.git import environment as git_environment
from binder_node.smoke.checks import RESERVED
from binder_node.smoke.reserved import fresh_name, is_old

SECONDS = 60.0
# The file that makes the branch's image unlike any other's; a build step runs it.
FILE = "binder_node_smoke.py"
# Where repo2docker looks for a repository's build files, in its order (repo2docker/buildpacks/base.py).
FOLDERS = ("binder", ".binder", "")
DOCKER_STEPS = f"\nCOPY {FILE} /tmp/{FILE}\nRUN python3 /tmp/{FILE} || true\n"
POST_BUILD = f"python3 {FILE} || true\n"
# git's own words are for people: they go into messages, and nothing is decided by them.
ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "binder-node",
    "GIT_AUTHOR_EMAIL": "binder-node@localhost",
    "GIT_COMMITTER_NAME": "binder-node",
    "GIT_COMMITTER_EMAIL": "binder-node@localhost",
}


@dataclass(frozen=True, slots=True)
class Branch:
    """``name`` on the repository at ``remote``, where it was pushed to."""

    remote: str
    name: str
    commit: str


def push_branch(remote: str, source: str) -> Branch:
    """Put a new branch beside the repository's HEAD, with the Python program ``source`` run by a step of its build.

    Raises:
        StepError: git is not here, cannot read the repository, or may not push to it.
        DeadlineError: the repository does not answer.
    """
    name = fresh_name("-")
    with tempfile.TemporaryDirectory(prefix="binder-node-smoke-") as folder:
        tree = Path(folder) / "tree"
        git(remote, "clone", "--quiet", "--depth=1", "--", remote, str(tree))
        prepare(tree, f"# {name}\n{source}")
        git(remote, "-C", str(tree), "add", "--all", "--force", ".")
        git(remote, "-C", str(tree), "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "-m", name)
        commit = git(remote, "-C", str(tree), "rev-parse", "HEAD").strip()
        git(remote, "-C", str(tree), "push", "--quiet", "--no-verify", "origin", f"HEAD:refs/heads/{name}")
    return Branch(remote, name, commit)


def sweep_branches(remote: str) -> None:
    """Take away branches of runs that were killed.

    Raises:
        StepError, DeadlineError: as :func:`push_branch`.
    """
    lines = git(remote, "ls-remote", "--", remote, f"refs/heads/{RESERVED}-*").splitlines()
    now = time.time()
    for line in lines:
        name = line.rpartition("refs/heads/")[2]
        if is_old(name, "-", now):
            remove_branch(Branch(remote, name, line.split()[0]))


def remove_branch(branch: Branch) -> None:
    """Take the branch away again; one that is gone already is what is wanted.

    Raises:
        StepError, DeadlineError: as :func:`push_branch`.
    """
    if not git(branch.remote, "ls-remote", "--", branch.remote, f"refs/heads/{branch.name}").strip():
        return
    with tempfile.TemporaryDirectory(prefix="binder-node-smoke-") as folder:
        git(branch.remote, "init", "--quiet", folder)
        refs = f":refs/heads/{branch.name}"
        git(branch.remote, "-C", folder, "push", "--quiet", "--no-verify", "--", branch.remote, refs)


def prepare(tree: Path, source: str) -> None:
    """Write the program into a checkout, and have its build run it: by its Dockerfile, or else after the build."""
    (tree / FILE).write_text(source, encoding="utf-8")
    folder = next((tree / name for name in FOLDERS if (tree / name).is_dir()), tree)
    dockerfile, script = folder / "Dockerfile", folder / "postBuild"
    if dockerfile.is_file():
        with dockerfile.open("a", encoding="utf-8") as out:
            out.write(DOCKER_STEPS)
        return
    before = script.read_text(encoding="utf-8") if script.exists() else "#!/bin/bash\n"
    script.write_text(before.rstrip("\n") + "\n" + POST_BUILD, encoding="utf-8")
    script.chmod(0o755)


def git(remote: str, *words: str) -> str:
    """One git command's stdout; ``remote`` is whom it talks of."""
    environment = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **git_environment(**ENVIRONMENT)}
    where, verb = shown(remote), next(word for word in words if word in VERBS)
    try:
        done = subprocess.run(
            ["git", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise StepError("here", f"git {verb}", "there is no git on this machine", "install git") from None
    except subprocess.TimeoutExpired:
        raise DeadlineError("here", f"git {verb} ({where})", SECONDS) from None
    if done.returncode != 0:
        said = done.stderr.replace(remote, where).strip() or f"exit code {done.returncode}"
        remedy = "name a repository that you may push to with --push-to; git asks nobody for a password here"
        raise StepError("here", f"git {verb} ({where})", said, remedy)
    return done.stdout


VERBS = ("clone", "add", "commit", "rev-parse", "push", "ls-remote", "init")


def shown(url: str) -> str:
    """A repository's address without the password that may stand in it.

    >>> shown("https://me:secret@example.org/x.git"), shown("/srv/x.git"), shown("git@example.org:x.git")
    ('https://example.org/x.git', '/srv/x.git', 'git@example.org:x.git')
    """
    parts = urlsplit(url)
    if "://" not in url or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
