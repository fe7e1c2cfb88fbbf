"""A package index to install from, as files for any web server."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile


def packages(folder: Path, count: int) -> list[str]:
    """A package index of ``count`` wheels in ``folder``, each with a file of its own; their names."""
    names = [f"part-{number}" for number in range(count)]
    for name in names:
        module = name.replace("-", "_")
        page = folder / "simple" / name
        page.mkdir(parents=True)
        wheel = f"{module}-1.0-py3-none-any.whl"
        with ZipFile(page / wheel, "w") as archive:
            archive.writestr(f"{module}.py", f"name = {name!r}\n" + "#" * 200_000)
            info = f"{module}-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        (page / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')
    return names
