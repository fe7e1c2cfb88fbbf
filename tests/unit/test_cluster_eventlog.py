"""The log of launches as BinderHub writes it: a file a day, nothing lost between processes, failures beside it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import types
from pathlib import Path

import pytest

from binder_node.cluster.eventlog import eventlog_values
from binder_node.errors import InputError
from binder_node.secrets.masked import Masked
from tests.unit.event_samples import configured, launch, tell
from tests.unit.host_samples import sample_secrets, sample_spec


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_lies_in_the_file_of_its_own_day(tmp_path: Path) -> None:
    with configured(tmp_path, sample_spec()) as (c, _):
        handlers = c.EventLog.handlers_maker(None)
        tell(handlers, launch("2026-11-21T23:59:59.999999Z"))
        tell(handlers, launch("2026-11-22T00:00:00.000001Z", "org/other/HEAD"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events-2026-11-21.jsonl", "events-2026-11-22.jsonl"]
    assert lines(tmp_path / "events-2026-11-21.jsonl") == [launch("2026-11-21T23:59:59.999999Z")]
    assert (tmp_path / "events-2026-11-21.jsonl").stat().st_mode & 0o777 == 0o600


def test_half_a_line_of_a_full_disk_does_not_take_the_next_event_with_it(tmp_path: Path) -> None:
    file = tmp_path / "events-2026-11-21.jsonl"
    file.write_text('{"timestamp": "2026-11-2')
    with configured(tmp_path, sample_spec()) as (c, _):
        tell(c.EventLog.handlers_maker(None), launch("2026-11-21T10:00:00.000000Z"))
    assert json.loads(file.read_text().splitlines()[1]) == launch("2026-11-21T10:00:00.000000Z")


def test_a_folder_that_is_not_there_costs_the_event_and_not_the_launch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(tmp_path / "none", sample_spec()) as (c, _):
        tell(c.EventLog.handlers_maker(None), launch("2026-11-21T10:00:00.000000Z"))
    assert "an event is lost" in capsys.readouterr().err


def _write(folder: Path, name: str) -> None:
    with configured(folder, sample_spec()) as (c, _):
        handlers = c.EventLog.handlers_maker(None)
        for number in range(500):
            tell(handlers, launch("2026-11-21T10:00:00.000000Z", f"org/{name}-{number}{'x' * 400}/HEAD"))


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(tmp_path, str(number))) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len({str(line["spec"]) for line in lines(tmp_path / "events-2026-11-21.jsonl")}) == 2000


def failed(folder: Path) -> list[dict[str, object]]:
    return [line for path in folder.glob("failures-*.jsonl") for line in lines(path)]


def test_a_failure_is_recorded_once_with_its_first_reason_and_how_far_it_came(tmp_path: Path) -> None:
    with configured(tmp_path, sample_spec()) as (_, handler_class):
        handler = handler_class("/build/git/https%3A%2F%2Fexample.org%2Fa.git/main")
        sent = [
            {"phase": "waiting", "message": "..."},
            '{"phase": "building", "message": "Step 1"}',
            '{"phase": "failed", "message": "Error during build: no such package\\n"}',
            {"phase": "failed"},
        ]
        for event in sent:
            asyncio.run(handler.emit(event))
        assert handler.sent == sent  # the stream itself is what it was
    (one,) = failed(tmp_path)
    assert one.pop("timestamp")
    assert one == {
        "path": "git/https%3A%2F%2Fexample.org%2Fa.git/main",
        "phase": "building",
        "message": "Error during build: no such package",
    }


def test_what_ends_in_an_exception_is_a_failure_and_what_ends_ready_is_none(tmp_path: Path) -> None:
    with configured(tmp_path, sample_spec()) as (_, handler_class):
        good, bad = handler_class(), handler_class()
        for event in ({"phase": "launching"}, {"phase": "ready", "url": "http://x"}):
            asyncio.run(good.emit(event))
        good.send_error(500)  # the client went away
        error = RuntimeError("Image x for user y took too long to launch")
        asyncio.run(bad.emit({"phase": "launching"}))
        bad.send_error(500, exc_info=(RuntimeError, error, None))
        assert bad.sent[-1][0] == 500
    (one,) = failed(tmp_path)
    assert (one["phase"], one["message"]) == ("launching", "Image x for user y took too long to launch")


def test_another_binderhub_starts_without_a_record_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("tests.unit.event_samples.BuildHandler")
    with configured(tmp_path, sample_spec()) as (c, handler_class):
        assert handler_class is None
        tell(c.EventLog.handlers_maker(None), launch("2026-11-21T10:00:00.000000Z"))
    assert "failures are not recorded" in capsys.readouterr().err
    assert len(lines(tmp_path / "events-2026-11-21.jsonl")) == 1


def test_who_asks_for_nonsense_all_day_long_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("binder_node.cluster.eventlog.MOST_FAILURES", 10_000)
    with configured(tmp_path, sample_spec()) as (_, handler_class):
        for _ in range(200):
            handler_class("/build/gh/" + "n" * 5000).send_error(429)
    (file,) = tmp_path.glob("failures-*.jsonl")
    assert 10_000 < file.stat().st_size < 12_000


def test_the_release_mounts_the_folder_and_has_no_key_it_does_not_need() -> None:
    found = eventlog_values(sample_spec(), sample_secrets(), "/var/lib/binder-node/events")
    assert found == {
        "extraVolumes": [
            {
                "name": "binder-node-events",
                "hostPath": {"path": "/var/lib/binder-node/events", "type": "Directory"},
            }
        ],
        "extraVolumeMounts": [{"name": "binder-node-events", "mountPath": "/run/binder-node/events"}],
    }


def test_a_collector_wants_its_key_before_anything_is_done() -> None:
    spec, secrets = sample_spec(events={"collector": "google"}), sample_secrets()
    with pytest.raises(InputError, match=r"tokens\.collector"):
        eventlog_values(spec, secrets, "/events")
    key = Masked('{"type": "service_account"}')
    values = eventlog_values(spec, secrets.model_copy(update={"tokens": {"collector": key}}), "/events")
    assert values["extraFiles"]["binder-node-collector"]["stringData"] is key


class Client:
    """Google's, as far as it is used."""

    made: str = ""

    @classmethod
    def from_service_account_json(cls, path: str) -> Client:
        cls.made = path
        return cls()


@pytest.mark.parametrize("installed", [True, False])
def test_the_collector_gets_every_event_besides_and_its_absence_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installed: bool
) -> None:
    import logging

    got: list[tuple[str, object, object]] = []

    class CloudLoggingHandler(logging.Handler):
        def __init__(self, client: Client, name: str) -> None:
            super().__init__()
            assert client.made
            self.log = name

        def emit(self, record: logging.LogRecord) -> None:
            got.append((self.log, record.name, record.msg))

    handlers = types.ModuleType("google.cloud.logging.handlers")
    handlers.CloudLoggingHandler = CloudLoggingHandler  # type: ignore[attr-defined]
    library = types.ModuleType("google.cloud.logging")
    library.Client, library.handlers = Client, handlers  # type: ignore[attr-defined]
    cloud, google = types.ModuleType("google.cloud"), types.ModuleType("google")
    cloud.logging, google.cloud = library, cloud  # type: ignore[attr-defined]
    for module in (google, cloud, library, handlers):
        monkeypatch.setitem(sys.modules, module.__name__, module if installed else None)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    with configured(tmp_path, sample_spec(events={"collector": "google", "log": "their-log"})) as (c, _):
        tell(c.EventLog.handlers_maker(None), launch("2026-11-21T10:00:00.000000Z"))
    assert len(lines(tmp_path / "events-2026-11-21.jsonl")) == 1
    if installed:
        assert Client.made == "/etc/binder-node/collector.json"
        assert got == [("their-log", None, launch("2026-11-21T10:00:00.000000Z"))]
    else:
        assert "the collector gets no events" in capsys.readouterr().err
