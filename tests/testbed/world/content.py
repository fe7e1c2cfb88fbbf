"""What the world serves: the registry's storage, and the demo repositories. Made once, into the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.testbed.images import oci, recipes

Files = Mapping[str, str]
BASE = f"FROM {recipes.BASE_IMAGE}\n"
DAY = "2026-09-21T12:00:00+0000"  # every commit's: the same files give the same commit
WHO = {
    **{f"GIT_{role}_NAME": "World" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "world@example.org" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_DATE": DAY for role in ("AUTHOR", "COMMITTER")},
}
BLOB_SIZES = (16, 64, 256, 900)  # MB; branches of the repository `big`

EAT_MEMORY = """\
import time
held = []
for step in range(1, 129):
    held.append(bytearray(b"x") * (64 << 20))
    print("holding", step * 64, "MB", flush=True)
    time.sleep(0.05)
"""
EAT_DISK = """\
block = open("/dev/urandom", "rb").read(16 << 20)
with open("/home/jovyan/blob", "wb") as out:
    for step in range(1, 257):
        out.write(block)
        out.flush()
        print("written", step * 16, "MB", flush=True)
"""
PROBE = """\
import json, socket
found = {}
for what, address, port in json.load(open("targets.json")):
    with socket.socket() as knock:
        knock.settimeout(3)
        try:
            knock.connect((address, port))
            found[what] = "reached"
        except OSError as error:
            found[what] = type(error).__name__
print("PROBED " + json.dumps(found), flush=True)
"""
SLOW = """\
import time
for second in range(300):
    print("second", second, flush=True)
    time.sleep(1)
"""
HELLO = {"hello.py": 'print("hello")\n', "README.md": "A repository of the testbed's.\n"}


def _script(name: str, text: str) -> Files:
    return {"Dockerfile": f"{BASE}COPY . .\nRUN python3 {name}\n", name: text}


def _big(megabytes: int) -> Files:
    # From the kernel at build time: no compression makes it smaller, and no commit has to carry it.
    return {"Dockerfile": f"{BASE}RUN head -c {megabytes}M /dev/urandom > /home/jovyan/blob-{megabytes}\n"}


REPOSITORIES: Mapping[str, Mapping[str, Files]] = {
    "minimal": {"main": {"Dockerfile": f"{BASE}COPY --chown=1000:100 . .\n", **HELLO}},
    "fails": {"main": {"Dockerfile": f"{BASE}RUN echo 'nothing will come of this' >&2 && exit 3\n"}},
    "eats-memory": {"main": _script("eat.py", EAT_MEMORY)},
    "eats-disk": {"main": _script("eat.py", EAT_DISK)},
    "probe": {"main": {**_script("probe.py", PROBE), "targets.json": "[]\n"}},
    "slow": {"main": _script("slow.py", SLOW)},
    "big": {"main": _big(BLOB_SIZES[0]), **{f"mb-{size}": _big(size) for size in BLOB_SIZES}},
}


def git(*words: str | Path, cwd: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """Run git without the user's configuration; its stdout. Raises ``CalledProcessError``."""
    clean = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.environ["PATH"], **WHO}
    command = ["git", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=True)
    return done.stdout


def commit(bare: Path, branch: str, files: Files | Path) -> str:
    """Put ``files`` (or a folder's) on ``branch`` of a bare repository, made where it is not there; the commit.

    The first branch is where HEAD leads.
    """
    if not bare.exists():
        git("init", "--quiet", "--bare", f"--initial-branch={branch}", bare)
    with tempfile.TemporaryDirectory(prefix="binder-node-commit-") as name:
        tree, index = Path(name), {"GIT_INDEX_FILE": f"{name}.index", "GIT_DIR": str(bare)}
        if isinstance(files, Path):
            shutil.copytree(files, tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
        else:
            for path, text in files.items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_text(text)
        try:
            git(f"--work-tree={tree}", "add", "--all", "--force", ".", cwd=tree, environment=index)
            object_name = git("write-tree", environment=index).strip()
        finally:
            Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
    made = git("commit-tree", object_name, "-m", f"{bare.stem} {branch}", environment={"GIT_DIR": str(bare)}).strip()
    git("update-ref", f"refs/heads/{branch}", made, environment={"GIT_DIR": str(bare)})
    return made


def repositories() -> Path:
    """The folder of demo repositories in the cache, ``<name>.git`` each."""
    key = hashlib.sha256(json.dumps(REPOSITORIES, sort_keys=True).encode()).hexdigest()[:16]
    return _once(recipes.cache() / "world" / f"git-{key}", _fill_repositories)


def _fill_repositories(folder: Path) -> None:
    for name, branches in REPOSITORIES.items():
        for branch, files in branches.items():
            commit(folder / f"{name}.git", branch, files)


def registry_storage(report: recipes.Report) -> Path:
    """Storage of a Distribution registry that mirrors every image of the testbed, in the cache.

    Its blobs are hard links to the cached layers, in the layout of Distribution's filesystem driver: no push.
    """
    images = [recipes.build_image(recipe, report) for recipe in (*recipes.PRELOADED, recipes.BASE)]
    key = hashlib.sha256("".join(oci.sha256(image.manifest()) for image in images).encode()).hexdigest()[:16]
    return _once(recipes.cache() / "world" / f"registry-{key}", lambda folder: _fill_registry(folder, images))


def _fill_registry(folder: Path, images: Iterable[oci.Image]) -> None:
    root = folder / "docker/registry/v2"
    for image in images:
        for data in (image.manifest(), image.config()):
            _blob(root, oci.sha256(data)).write_bytes(data)
        for layer in image.layers:
            at = _blob(root, layer.digest)
            if not at.exists():
                _link_or_copy(layer.path, at)
        manifest, config = oci.sha256(image.manifest()), oci.sha256(image.config())
        for name in image.names:
            path, _, tag = name.partition("/")[2].rpartition(":")
            repository = root / "repositories" / path
            for digest in (config, *(layer.digest for layer in image.layers)):
                _pointer(repository / "_layers", digest)
            _pointer(repository / "_manifests/revisions", manifest)
            _pointer(repository / f"_manifests/tags/{tag}/index", manifest)
            current = repository / f"_manifests/tags/{tag}/current/link"
            current.parent.mkdir(parents=True, exist_ok=True)
            current.write_text(manifest)


def _blob(root: Path, digest: str) -> Path:
    hexadecimal = digest.removeprefix("sha256:")
    at = root / "blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
    at.parent.mkdir(parents=True, exist_ok=True)
    return at


def _pointer(folder: Path, digest: str) -> None:
    at = folder / digest.replace(":", "/") / "link"
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(digest)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a folder of the cache wholly or not at all, whoever else does so at the same time."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        fill(part)
        part.chmod(0o755)
        part.rename(folder)
    except OSError:
        if not folder.exists():  # somebody else's is as good
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
