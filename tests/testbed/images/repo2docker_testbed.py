"""``jupyter-repo2docker`` for a machine that reaches no internet: upstream's own, with two content providers.

Detection asks each provider in turn, and the Dataverse one begins by fetching a list from GitHub. Only the
testbed's build image starts repo2docker through here: the values that the product writes stay those of production.
"""

from __future__ import annotations

import repo2docker.__main__ as upstream
from repo2docker.app import Repo2Docker
from repo2docker.contentproviders import Git, Local
from traitlets import Any, List


class OfflineRepo2Docker(Repo2Docker):  # type: ignore[misc]
    """Repo2Docker with the providers that need no lookup elsewhere; sections of ``c.Repo2Docker`` apply to it."""

    content_providers = List(Any(), [Local, Git], config=True)


if __name__ == "__main__":
    upstream.Repo2Docker = OfflineRepo2Docker
    upstream.main()
