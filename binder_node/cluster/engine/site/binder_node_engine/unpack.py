"""The image unpacked into the node's store while it is pushed: BuildKit does one after the other in one build."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# What BuildKit says when it begins to push (util/push/push.go, v0.33.1). Should it ever say otherwise, unpacking begins
# when the push has ended: later, and as good.
PUSHING = "pushing layers"


class Unpacking:
    """A second build of the same, whose steps are all cached, with the one output that the first leaves out.

    ``argv`` and ``environment`` are its own; what it says goes to ``log``.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._argv, self._environment, self._log = list(argv), dict(environment), log
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, if it has not been."""
        if self._process is None:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._argv, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def end(self, seconds: float) -> str:
        """Start it if need be, and wait for it; why it failed, empty when it did not."""
        self.begin()
        assert self._process is not None
        try:
            code = self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            return f"it took longer than {seconds:.0f} s"
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return said.rpartition("\n")[2] or f"exit code {code}" if code else ""

    def stop(self) -> None:
        """End it where it stands; BuildKit ends what it did for a client that is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=60)
