"""A checkout on this computer: its texts, their change as a diff, and a commit on a branch, by git itself."""

from __future__ import annotations

import difflib
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from binder_node.errors import DeadlineError, InputError, Problem, StepError
from binder_node.files import replace
from binder_node.git import environment

GIT_SECONDS = 60.0
# What git-crypt's filter begins an encrypted file with (git-crypt's crypto: "\0GITCRYPT\0", then the nonce).
ENCRYPTED = b"\0GITCRYPT\0"
FILTER = "git-crypt"


@dataclass(frozen=True, slots=True)
class Worktree:
    """``root`` is the folder of the checkout."""

    root: Path

    def read(self, paths: Iterable[str]) -> dict[str, str]:
        """The texts of those files that exist, line ends as they are.

        Raises:
            InputError: the checkout is no folder, or a file is no UTF-8 text, or leads out of it.
        """
        if not self.root.is_dir():
            right = "name a checkout of the federation's repository"
            raise InputError(Problem(str(self.root), 0, "", "is no folder", right))
        found = {}
        for path in paths:
            file = self._inside(path)
            if not file.is_file():
                continue
            try:
                found[path] = file.read_bytes().decode("utf-8")
            except OSError as error:
                raise InputError(Problem(str(file), 0, "", f"cannot be read: {error.strerror}", "")) from None
            except UnicodeDecodeError:
                wrong = "is no UTF-8 text"
                raise InputError(Problem(str(file), 0, "", wrong, "is it encrypted? `git-crypt unlock` it")) from None
        return found

    def has(self, path: str) -> bool:
        """Whether there is such a file, whatever is in it."""
        return self._inside(path).is_file()

    def write(self, changed: Mapping[str, str | None]) -> None:
        """Write each text over its file, whole; None removes it. Raises StepError where a file cannot be written."""
        for path, text in changed.items():
            file = self._inside(path)
            try:
                if text is None:
                    file.unlink(missing_ok=True)
                    continue
                file.parent.mkdir(parents=True, exist_ok=True)
                mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
                replace(file, text.encode("utf-8"), mode)
            except OSError as error:
                raise StepError("here", f"write {file}", str(error), "the same command again does the rest") from None

    def _inside(self, path: str) -> Path:
        """Raises InputError where a link leads out of the checkout."""
        file = (self.root / path).resolve()
        if not file.is_relative_to(self.root.resolve()):
            raise InputError(Problem(str(self.root / path), 0, "", "leads out of the checkout", "make it a file"))
        return file

    # --- git ---------------------------------------------------------------------------------------------------------

    def refuse_unclean(self, paths: Iterable[str]) -> None:
        """Raises InputError where one of the files has changes that nobody has committed: they would be in ours."""
        changed = self._git("status", "--porcelain", "--", *paths).stdout.splitlines()
        if changed:
            wrong = f"is not committed: {', '.join(row[3:] for row in changed)}"
            raise InputError(Problem(str(self.root), 0, "", wrong, "commit or stash it, or do without --branch"))

    def begin(self, branch: str) -> None:
        """Be on ``branch``, made from what is checked out where it is not there. Raises as :meth:`refuse_branch`."""
        self.refuse_branch(branch)
        if not self._is_on(branch):
            self._git("switch", "--create", branch)

    def _is_on(self, branch: str) -> bool:
        return self._git("branch", "--show-current").stdout.strip() == branch

    def refuse_branch(self, branch: str) -> None:
        """Raises InputError where git takes no branch of that name, or there is one that is not checked out."""
        if self._is_on(branch):
            return
        if self._git("check-ref-format", "--branch", branch, check=False).returncode != 0:
            raise InputError(Problem("", 0, "--branch", f"{branch!r} is no name of a branch", "like join-bids"))
        if self._git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False).returncode == 0:
            right = f"`git switch {branch}` first, or name a new one"
            raise InputError(Problem("", 0, "--branch", f"{branch} is there and not checked out", right))

    def commit(self, paths: Iterable[str], message: str) -> str:
        """Commit these files and nothing else; the commit's id. What git-crypt is to encrypt is looked at first.

        Raises:
            StepError: git refused (no user.name, a hook), or a file below its filter would be committed in clear.
        """
        wanted = list(paths)
        self._git("add", "--all", "--", *wanted)
        for path in wanted:
            if self._filtered(path) and not self._encrypted(path):
                self._git("reset", "--quiet", "--", *wanted)
                remedy = "`git-crypt unlock` the checkout; nothing was committed"
                raise StepError("here", f"commit {path}", "git-crypt did not encrypt it", remedy)
        self._git("commit", "--quiet", "--message", message, "--", *wanted)
        return self._git("rev-parse", "HEAD").stdout.strip()

    def unlocked(self, path: str) -> None:
        """Make sure that what is written to ``path`` is encrypted when it is committed, and that git-crypt has its key.

        Raises:
            InputError: no filter covers the path, or the checkout is locked.
        """
        if not self._filtered(path):
            right = "a line like `secrets/** filter=git-crypt diff=git-crypt` in .gitattributes is missing"
            raise InputError(Problem(str(self.root / path), 0, "", "would be committed in clear", right))
        folder = self.root / self._git("rev-parse", "--git-common-dir").stdout.strip()
        clean = self._git("config", "--get", f"filter.{FILTER}.clean", check=False)
        if clean.returncode != 0 or not any((folder / "git-crypt/keys").glob("*")):
            right = "run `git-crypt unlock KEY` in it; who has the key is in the federation's team"
            raise InputError(Problem(str(self.root), 0, "", "is locked by git-crypt", right))

    def refuse_clear(self, path: str) -> None:
        """Refuse ``path`` for a secret where git-crypt is to encrypt it and has no key: it would be committed in clear.
        Any other place, in a checkout or not, is the operator's own.

        Raises:
            InputError: the checkout is locked.
        """
        if not self.root.is_dir() or self._git("rev-parse", "--is-inside-work-tree", check=False).returncode != 0:
            return
        if self._filtered(path):
            self.unlocked(path)

    def _filtered(self, path: str) -> bool:
        return self._git("check-attr", "filter", "--", path).stdout.strip().endswith(f": {FILTER}")

    def _encrypted(self, path: str) -> bool:
        """Whether what is staged is encrypted, or goes."""
        done = self._run("cat-file", "blob", f":{path}")
        return done.returncode != 0 or done.stdout.startswith(ENCRYPTED)

    def _git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = self._run(*words)
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        if check and done.returncode != 0:
            raise StepError("here", f"git {words[0]} in {self.root}", err or out, "is it a git checkout?")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        argv = ["git", "-C", str(self.root), *words]
        try:
            return subprocess.run(argv, env=environment(), capture_output=True, check=False, timeout=GIT_SECONDS)
        except FileNotFoundError:
            raise StepError("here", "run git", "it is not installed", "install git") from None
        except subprocess.TimeoutExpired:
            what = f"git {words[0]} in {self.root}"
            raise DeadlineError("here", what, GIT_SECONDS, remedy="is it waiting for an answer of yours?") from None


def diff(before: Mapping[str, str], changed: Mapping[str, str | None]) -> str:
    """The change of these files as one unified diff that `git apply` takes. Pure."""
    return "".join(_one(path, before.get(path), text) for path, text in changed.items())


def _one(path: str, before: str | None, after: str | None) -> str:
    rows = difflib.unified_diff(
        (before or "").splitlines(keepends=True),
        (after or "").splitlines(keepends=True),
        f"a/{path}" if before is not None else "/dev/null",
        f"b/{path}" if after is not None else "/dev/null",
    )
    body = "".join(row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows)
    extra = "new file mode 100644\n" if before is None else "deleted file mode 100644\n" if after is None else ""
    return f"diff --git a/{path} b/{path}\n{extra}{body}" if body or extra else ""
