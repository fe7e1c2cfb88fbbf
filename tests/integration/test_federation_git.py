"""The commands of membership against real git checkouts, with real git-crypt, by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.federation.worktree import Worktree
from tests.unit.federation_samples import SHARED, files, guide, needs_shared

pytestmark = pytest.mark.integration

INVENTORY = """\
name: lab
provider: {{kind: local}}
machine: {{cpus: 24, memory: 92G, disk: 500G}}
names: {{binder: lab.example.org}}
tls: {{mode: acme, email: ops@example.org}}
storage: {{kind: s3, endpoint: "https://s3.example.org", region: here, bucket: lab-registry}}
kubernetes: {{api_from: [0.0.0.0/0], operators: [deploy]}}
deploy: {deploy}
federation: {{member: lab, weight: 40, sponsor: Lab, sponsor_url: "https://lab.org", logo: "https://lab.org/l.svg"}}
"""
AUTHOR = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Checkout:
    """A git checkout with these files in one commit."""

    def __init__(self, root: Path, texts: Mapping[str, str]) -> None:
        self.root = root
        for path, text in texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text.encode())
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "As it was")

    def git(self, *words: str) -> str:
        argv = ["git", "-C", str(self.root), *words]
        done = subprocess.run(argv, env={**os.environ, **AUTHOR}, capture_output=True, check=True, timeout=60)
        return done.stdout.decode("utf-8", "surrogateescape")

    def crypt(self, *words: str) -> None:
        subprocess.run(["git-crypt", *words], cwd=self.root, check=True, capture_output=True, timeout=60)

    @property
    def texts(self) -> dict[str, bytes]:
        """Every file but git's own."""
        paths = [path for path in self.root.rglob("*") if path.is_file() and ".git" not in path.parts]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "deploy", {path: text for path, text in files().items() if path != "config/lab.yaml"})


@pytest.fixture
def pages(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "guide", guide())


def federation(folder: Path, *words: str, deploy: str = "here") -> subprocess.CompletedProcess[str]:
    """``binder-node federation VERB lab ...`` as an operator types it."""
    inventory = folder / "lab.yaml"
    inventory.write_text(INVENTORY.format(deploy=deploy))
    binary = str(Path(sys.executable).with_name("binder-node"))
    verb, *rest = words
    return subprocess.run(
        [binary, "federation", verb, str(inventory), *rest],
        env={**os.environ, **AUTHOR, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def test_a_join_is_one_commit_in_each_checkout_and_its_diff_is_one_that_git_takes(
    tmp_path: Path, checkout: Checkout, pages: Checkout
) -> None:
    where = ("--checkout", str(checkout.root), "--guide", str(pages.root))
    shown = federation(tmp_path, "register", *where, "--show")
    assert shown.returncode == 0, shown.stderr
    assert checkout.git("status", "--porcelain") + pages.git("status", "--porcelain") == ""
    done = federation(tmp_path, "register", *where, "--branch", "join-lab", "-o", "json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["diff"] == shown.stdout
    assert list(said["commits"]) == [str(checkout.root), str(pages.root)]
    for one in (checkout, pages):
        assert one.git("branch", "--show-current") == "join-lab\n"
        assert one.git("log", "--format=%s") == "Add lab to the federation\nAs it was\n"
        assert one.git("status", "--porcelain") == ""
        assert said["commits"][str(one.root)] == one.git("rev-parse", "HEAD").strip()
    joined = checkout.texts
    checkout.git("switch", "--quiet", "main")
    patch = tmp_path / "patch"
    patch.write_text(shown.stdout)
    checkout.git("apply", "--exclude=docs/*", str(patch))
    assert checkout.texts == joined
    again = federation(tmp_path, "register", *where)
    assert (again.returncode, again.stdout) == (0, "")
    assert "a member already; nothing to change" in again.stderr


def test_leaving_ends_where_joining_began(tmp_path: Path, checkout: Checkout) -> None:
    before, where = checkout.texts, ("--checkout", str(checkout.root))
    assert federation(tmp_path, "register", *where).returncode == 0
    checkout.git("commit", "--quiet", "--all", "--message", "Joined")
    subjects = []
    while True:
        done = federation(tmp_path, "leave", *where, "--branch", "leave-lab")
        assert done.returncode == 0, done.stderr
        if done.stdout == "":
            break
        subjects.append(checkout.git("log", "-1", "--format=%s").strip())
    assert subjects == ["Take lab out of rotation: weight 0", "Remove lab from the federation"]
    assert checkout.texts == before


@needs_shared
def test_the_federations_own_file_by_the_command_line(tmp_path: Path) -> None:
    text = (SHARED / "prod.yaml").read_bytes()
    checkout = Checkout(tmp_path / "deploy", {"config/prod.yaml": text.decode()})
    where = ("--checkout", str(checkout.root))
    done = federation(tmp_path, "register", *where)
    assert done.returncode == 0, done.stderr
    assert [row for row in done.stdout.splitlines() if row[:1] in "+-" and row[:3] not in ("+++", "---")] == [
        "+    lab:",
        "+      prime: false",
        "+      url: https://lab.example.org",
        "+      weight: 10",
        "+      health: https://lab.example.org/health",
        "+      versions: https://lab.example.org/versions",
    ]
    assert federation(tmp_path, "register", *where).stdout == ""
    assert federation(tmp_path, "leave", *where, "--phase", "remove").returncode == 0
    assert (checkout.root / "config/prod.yaml").read_bytes() == text
    assert checkout.git("status", "--porcelain") == ""


def test_a_branch_that_one_checkout_cannot_have_is_begun_in_neither(
    tmp_path: Path, checkout: Checkout, pages: Checkout
) -> None:
    pages.git("branch", "join")
    where = ("--checkout", str(checkout.root), "--guide", str(pages.root))
    done = federation(tmp_path, "register", *where, "--branch", "join")
    assert done.returncode == 2
    assert "join is there and not checked out" in done.stderr
    assert [one.git("branch", "--show-current") for one in (checkout, pages)] == ["main\n"] * 2
    assert [one.git("status", "--porcelain") for one in (checkout, pages)] == [""] * 2


def test_from_a_hook_the_checkout_that_is_named_is_changed_and_no_other(
    tmp_path: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = Checkout(tmp_path / "hooks", {"a": "1\n"})
    before = hooks.git("rev-parse", "HEAD")
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(hooks.root / ".git"))
        hook.setenv("GIT_INDEX_FILE", str(hooks.root / ".git/index"))
        done = federation(tmp_path, "register", "--checkout", str(checkout.root), "--branch", "join")
    assert done.returncode == 0, done.stderr
    assert checkout.git("branch", "--show-current") == "join\n"
    assert (hooks.git("rev-parse", "HEAD"), hooks.git("status", "--porcelain")) == (before, "")


def test_what_git_cannot_take_is_refused_and_nothing_is_written(tmp_path: Path, checkout: Checkout) -> None:
    before, where = checkout.texts, ("--checkout", str(checkout.root))
    checkout.git("branch", "there")
    for words, said in (
        (("--branch", "no such..name"), "is no name of a branch"),
        (("--branch", "there"), "there is there and not checked out; `git switch there` first"),
        (("--config", "config/none.yaml"), "config/none.yaml: is not in the checkout"),
    ):
        done = federation(tmp_path, "register", *where, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    assert checkout.texts == before
    (checkout.root / "deploy.py").write_text("# mine\n")
    (checkout.root / "config/prod.yaml").write_text((checkout.root / "config/prod.yaml").read_text() + "# mine\n")
    done = federation(tmp_path, "register", *where, "--branch", "new")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not committed: config/prod.yaml; commit or stash it" in done.stderr
    assert checkout.git("branch", "--show-current") == "main\n"
    none = federation(tmp_path, "register", "--checkout", str(tmp_path / "none"))
    assert none.returncode == 2
    assert "is no folder" in none.stderr


def test_a_link_out_of_the_checkout_is_not_followed(tmp_path: Path, checkout: Checkout) -> None:
    file, outside = checkout.root / "config/prod.yaml", tmp_path / "outside.yaml"
    file.rename(outside)
    file.symlink_to(outside)
    before = outside.read_bytes()
    done = federation(tmp_path, "register", "--checkout", str(checkout.root))
    assert done.returncode == 2
    assert "leads out of the checkout" in done.stderr
    assert outside.read_bytes() == before


def test_export_writes_where_git_crypt_encrypts_and_nowhere_else(tmp_path: Path, checkout: Checkout) -> None:
    before, where = checkout.texts, ("--checkout", str(checkout.root))
    done = federation(tmp_path, "export", *where, "--branch", "files", deploy="federation")
    assert (done.returncode, done.stdout) == (2, "")
    assert "would be committed in clear" in done.stderr
    (checkout.root / ".gitattributes").write_text("**/secrets/** filter=git-crypt diff=git-crypt\n")
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "Encrypt secrets")
    locked = federation(tmp_path, "export", *where, "--branch", "files", deploy="federation")
    assert (locked.returncode, locked.stdout) == (2, "")
    assert "is locked by git-crypt; run `git-crypt unlock KEY` in it" in locked.stderr
    assert {path: text for path, text in checkout.texts.items() if path != ".gitattributes"} == before
    checkout.crypt("init")
    open_ = federation(tmp_path, "export", *where, "--branch", "files", deploy="federation")
    assert open_.returncode == 0, open_.stderr
    made = sorted(set(checkout.texts) - set(before) - {".gitattributes"})
    assert made == [
        "config/k3s/lab-kubelet.yaml",
        "config/k3s/lab-upgrade-plan.yaml",
        "config/lab.yaml",
        "secrets/config/lab.yaml.template",
    ]
    assert checkout.git("cat-file", "blob", "HEAD:secrets/config/lab.yaml.template").startswith("\0GITCRYPT\0")
    assert checkout.git("cat-file", "blob", "HEAD:config/lab.yaml").startswith(
        "# Made by `binder-node federation export"
    )
    again = federation(tmp_path, "export", *where, deploy="federation")
    assert (again.returncode, again.stdout) == (0, "")
    joined = federation(tmp_path, "register", *where, "--branch", "files", deploy="federation")
    assert joined.returncode == 0, joined.stderr
    assert checkout.git("log", "--format=%s", "-2") == "Add lab to the federation\nFiles of member lab\n"
    checkout.crypt("lock")
    closed = federation(tmp_path, "export", *where, deploy="federation")
    assert (closed.returncode, closed.stdout) == (2, "")
    assert "lab.yaml.template: is no UTF-8 text; is it encrypted?" in closed.stderr


def test_a_template_is_not_put_beside_filled_secrets(tmp_path: Path, checkout: Checkout) -> None:
    (checkout.root / ".gitattributes").write_text("**/secrets/** filter=git-crypt diff=git-crypt\n")
    checkout.crypt("init")
    filled = checkout.root / "secrets/config/lab.yaml"
    filled.parent.mkdir(parents=True)
    filled.write_text("grafana: {adminPassword: not-for-you}\n")
    done = federation(tmp_path, "export", "--checkout", str(checkout.root), deploy="federation")
    assert done.returncode == 0, done.stderr
    assert not (checkout.root / "secrets/config/lab.yaml.template").exists()
    assert "not-for-you" not in done.stdout + done.stderr


def test_a_filter_that_does_not_encrypt_ends_the_commit(tmp_path: Path, checkout: Checkout) -> None:
    (checkout.root / ".gitattributes").write_text("**/secrets/** filter=git-crypt diff=git-crypt\n")
    checkout.crypt("init")
    checkout.git("config", "filter.git-crypt.clean", "cat")
    done = federation(tmp_path, "export", "--checkout", str(checkout.root), "--branch", "files", deploy="federation")
    assert done.returncode == 1
    assert "git-crypt did not encrypt it -> `git-crypt unlock` the checkout; nothing was committed" in done.stderr
    assert checkout.git("log", "--format=%s") == "As it was\n"
    assert checkout.git("diff", "--cached", "--name-only") == ""


def test_a_kubeconfig_is_not_put_where_it_would_be_committed_in_clear(tmp_path: Path, checkout: Checkout) -> None:
    file = checkout.root / "secrets/lab-kubeconfig.yaml"
    file.parent.mkdir()
    Worktree(tmp_path).refuse_clear("elsewhere.yaml")
    Worktree(file.parent).refuse_clear(file.name)  # no filter: the operator's own affair
    (checkout.root / ".gitattributes").write_text("**/secrets/** filter=git-crypt diff=git-crypt\n")
    with pytest.raises(InputError, match="is locked by git-crypt"):
        Worktree(file.parent).refuse_clear(file.name)
    checkout.crypt("init")
    Worktree(file.parent).refuse_clear(file.name)


def test_only_who_the_federation_deploys_is_exported(tmp_path: Path, checkout: Checkout) -> None:
    done = federation(tmp_path, "export", "--checkout", str(checkout.root))
    assert done.returncode == 2
    assert "lab.yaml: deploy: is here; write deploy: federation" in done.stderr
    refused = federation(tmp_path, "register", "--checkout", str(checkout.root), deploy="federation")
    assert refused.returncode == 2
    assert (
        "config/lab.yaml: is not in the checkout; write it with `binder-node federation export` first" in refused.stderr
    )
