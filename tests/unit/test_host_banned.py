"""What reads the list of who is banned: what it tells the firewall and BinderHub, and when it leaves all as it was."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from binder_node.cluster.banned import POD_BANNED, banned_source
from binder_node.cluster.snippets import apart
from binder_node.host.banned import EVERY, TIMER, UNIT
from binder_node.host.jobs import jobs
from binder_node.host.on_node.banned import __main__ as program
from binder_node.spec import lists
from tests.unit.host_samples import ADDRESS, central_spec, sample_spec, sample_wanted

URL = "https://example.org/banned.txt"
GOOD = "# us\n192.0.2.0/25\n192.0.2.128/25\ngithub.com/evil\n"


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {
        "url": URL,
        "own": ADDRESS,
        "set": "inet t s",
        "last": str(tmp_path / "last.json"),
        "repositories": str(tmp_path / "fetched"),
    }


@pytest.fixture
def firewall(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What nft is told."""
    told: list[str] = []
    monkeypatch.setattr(program, "enforce", lambda config, found: told.append(program.commands(config["set"], found)))
    return told


def serving(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    def fetched(url: str) -> str:
        if text is None:
            raise program.Wrong(f"{url} cannot be read: gone")
        return text

    monkeypatch.setattr(program, "fetched", fetched)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read: gone"),
        ("0.0.0.0/0", "is refused: line 1: 0.0.0.0/0 is too much of the world"),
        (f"{GOOD}{ADDRESS}", f"is refused: line 5: {ADDRESS}/32 has the node's own address"),
        (f"{GOOD}<html>\n<body>\n<p>\n<i>", "line 7: '<p>' is neither a network nor a repository and 1 more"),
    ],
)
def test_a_list_that_is_no_good_leaves_the_last_one(
    config: dict[str, Any], firewall: list[str], monkeypatch: pytest.MonkeyPatch, text: str | None, why: str
) -> None:
    serving(monkeypatch, GOOD)
    assert program.run(config) == "1 networks and 1 repositories are banned"
    serving(monkeypatch, text)
    with pytest.raises(program.Wrong) as caught:
        program.run(config)
    assert why in str(caught.value)
    assert str(caught.value).endswith("; the last list stays: 1 networks and 1 repositories are banned")
    # Told again: the set is empty after a reboot.
    assert firewall == ["flush set inet t s\nadd element inet t s { 192.0.2.0/24 }\n"] * 2
    assert Path(config["repositories"]).read_text() == "github.com/evil\n"


def test_an_empty_list_bans_nobody(
    config: dict[str, Any], firewall: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (GOOD, "# nobody\n"):
        serving(monkeypatch, text)
        program.run(config)
    assert firewall[-1] == "flush set inet t s\n"
    assert Path(config["repositories"]).read_text() == ""


def test_the_list_of_another_url_is_forgotten(
    config: dict[str, Any], firewall: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch, GOOD)
    program.run(config)
    serving(monkeypatch, None)
    with pytest.raises(program.Wrong, match="0 networks and 0 repositories are banned"):
        program.run({**config, "url": "https://example.org/other.txt"})
    assert firewall[-1] == "flush set inet t s\n"


def test_it_runs_on_a_timer_whose_end_is_watched_where_there_is_a_url() -> None:
    assert "banned" not in {job.name for job in jobs(sample_spec())}
    for spec in (sample_spec(abuse={"banned_url": URL}), central_spec().model_copy(update={"abuse": with_url()})):
        (job,) = (job for job in jobs(spec) if job.name == "banned")
        assert (job.unit, job.timer, job.every) == (UNIT, TIMER, EVERY)
        (component,) = (one for one in sample_wanted(spec).components if one.name == "banned")
        (config,) = (file for file in component.files if file.path == "/etc/binder-node/banned.json")
        assert json.loads(config.content)["url"] == URL
        assert json.loads(config.content)["own"] == ADDRESS
    assert "banned" not in {one.name for one in sample_wanted(central_spec()).components}


def test_the_inventorys_repositories_are_written_as_they_are_compared() -> None:
    spec = sample_spec(abuse={"banned_repositories": ["https://GitHub.com/Org/Name.git", "gitlab.com/a"]})
    (component,) = (one for one in sample_wanted(spec).components if one.name == "banned")
    (own,) = (file for file in component.files if file.path.endswith("/banned/inventory"))
    assert own.content == b"github.com/org/name\ngitlab.com/a\n"
    assert (own.mode, component.folders[0].mode) == (0o644, 0o755)


def with_url() -> Any:
    return sample_spec(abuse={"banned_url": URL}).abuse


def test_the_firewall_forgets_a_list_that_is_read_no_more() -> None:
    def kept(**said: str) -> list[str]:
        units = (unit for one in sample_wanted(sample_spec(abuse=said)).components for unit in one.units)
        (text,) = (unit.content or "" for unit in units if unit.name == "binder-node-firewall.service")
        return shlex.split(next(line for line in text.splitlines() if "keep.py" in line))

    assert "banned_fetched" in kept(banned_url=URL)
    assert "banned_fetched" not in kept()


class Provider:
    """As BinderHub's: what is asked before a launch."""

    def __init__(self, url: str) -> None:
        self.url = self.spec = url

    def is_banned(self) -> bool:
        return self.spec == "by upstream"

    def get_repo_url(self) -> str:
        if self.url == "broken":
            raise ValueError("no URL yet")
        return self.url


def binderhub(folder: Path, monkeypatch: pytest.MonkeyPatch, *, by_url: bool) -> type[Provider]:
    """BinderHub's base class with the snippet run, as its chart does."""
    import sys
    from types import ModuleType

    module, made = ModuleType("binderhub.repoproviders"), type("RepoProvider", (Provider,), {})
    module.RepoProvider = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "binderhub", ModuleType("binderhub"))
    monkeypatch.setitem(sys.modules, "binderhub.repoproviders", module)
    exec(apart(banned_source(by_url).replace(POD_BANNED, str(folder))), {"c": None})
    return made


def test_binderhub_asks_the_files_at_each_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = binderhub(tmp_path, monkeypatch, by_url=True)
    evil, other = "https://github.com/Evil/repo.git", "https://github.com/other/repo"
    assert not provider(evil).is_banned()  # there are no files yet
    (tmp_path / "inventory").write_text("github.com/evil\n")
    assert (provider(evil).is_banned(), provider(other).is_banned()) == (True, False)
    assert provider("by upstream").is_banned()
    assert not provider("broken").is_banned()
    program.write(tmp_path / "fetched", "github.com/other\n")
    assert provider(other).is_banned()
    program.write(tmp_path / "fetched", "")
    assert not provider(other).is_banned()
    (tmp_path / "inventory").unlink()
    assert not provider(evil).is_banned()


def test_a_list_that_is_read_no_more_bans_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fetched").write_text("github.com/other\n")
    assert not binderhub(tmp_path, monkeypatch, by_url=False)("https://github.com/other/repo").is_banned()


def test_many_lines_are_gone_through_in_a_moment() -> None:
    import time

    many = [f"github.com/org-{number}/name" for number in range(lists.MOST_LINES)]
    began = time.monotonic()
    assert not lists.is_banned("https://github.com/other/repo", many)
    assert time.monotonic() - began < 0.5
