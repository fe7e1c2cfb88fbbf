"""What a node does on timers: written down, read again, judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from binder_node.host.jobs import Job, Ran, jobs, last_runs, ran
from binder_node.host.observe import Seen
from binder_node.host.on_node.record import record
from binder_node.smoke.judge_machine import Standing
from binder_node.smoke.judge_machine import jobs as judged
from tests.unit.host_samples import central_spec, sample_spec, sample_wanted

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAILY = Job("retention", "removal of images", "r.service", "r.timer", 86400.0, "retention")
WELL = Ran("retention", "success", NOW, 3.0, "nothing to remove", NOW, 0)


def reasons(run: Ran, timer: str = "active", waiting: float = 1e6, now: datetime = NOW) -> list[str]:
    return [trouble.reason for trouble in judged([Standing(DAILY, run, timer, waiting)], now, "bids")]


def test_every_service_that_a_timer_of_ours_starts_writes_down_how_it_ended() -> None:
    for spec in (sample_spec(), central_spec()):
        units = {unit.name: unit.content for one in sample_wanted(spec).components for unit in one.units}
        timed = {name.removesuffix(".timer") for name in units if name.endswith(".timer")}
        told = {job.timer.removesuffix(".timer"): job for job in jobs(spec)}
        assert set(told) == timed
        for name, job in told.items():
            assert f"ExecStopPost=-+/usr/bin/python3 /etc/binder-node/record.py /var/lib/binder-node/jobs {job.name} " \
                f"{job.unit}\n" in (units[f"{name}.service"] or "")  # fmt: skip


def test_a_timer_is_as_often_as_the_table_says() -> None:
    units = {unit.name: unit.content or "" for one in sample_wanted().components for unit in one.units}
    for job in jobs(sample_spec()):
        hours = f"OnUnitInactiveSec={job.every / 3600:.0f}h\n"
        assert f"OnUnitInactiveSec={job.every:.0f}s\n" in units[job.timer] or hours in units[job.timer]


def test_what_is_switched_off_is_not_waited_for() -> None:
    off = sample_spec(backup={"hours": 0}, binderhub={"sweep": 0})
    assert [job.name for job in jobs(off)] == ["uses", "retention", "events"]
    assert [job.name for job in jobs(central_spec())] == ["backup"]


def test_a_record_keeps_the_last_success_and_counts_failures() -> None:
    first = record({}, "uses", "success", 1.25, "12 images", NOW)
    assert first == {
        "job": "uses",
        "result": "success",
        "ended": "2026-11-21T12:00:00+00:00",
        "seconds": 1.2,
        "said": "12 images",
        "succeeded": "2026-11-21T12:00:00+00:00",
        "failures": 0,
    }
    later = NOW + timedelta(hours=1)
    failed = record(first, "uses", "exit-code", 60, "x" * 999, later)
    assert (failed["succeeded"], failed["failures"], len(failed["said"])) == (first["succeeded"], 1, 300)
    again = record(failed, "uses", "timeout", 60, "", later)
    assert (again["succeeded"], again["failures"]) == (first["succeeded"], 2)
    assert ran("uses", again) == Ran("uses", "timeout", later, 60.0, "", NOW, 2)


def test_what_is_no_record_is_a_run_that_never_was() -> None:
    for broken in ({}, {"result": "success"}, {"result": "success", "ended": "never"}):
        assert ran("uses", broken) == Ran("uses")


def test_the_last_run_of_every_job_is_told_of_a_machine_that_is_there() -> None:
    said = record({}, "uses", "success", 1, "", NOW)
    told = last_runs(sample_spec(), Seen(exists=True, jobs={"uses": said, "stranger": said}))
    assert [(run.job, run.well) for run in told] == [
        ("uses", True),
        ("retention", False),
        ("events", False),
        ("pods", False),
        ("backup", False),
    ]
    assert last_runs(sample_spec(), Seen()) == []


def test_a_run_that_was_well_and_is_young_is_no_trouble() -> None:
    assert reasons(WELL) == []
    assert reasons(WELL, now=NOW + timedelta(hours=48)) == []


def test_a_timer_that_is_off_is_trouble_whatever_ran() -> None:
    assert reasons(WELL, "inactive") == ["the timer of the removal of images is inactive"]


def test_a_run_that_failed_is_told_with_its_own_words() -> None:
    failed = Ran("retention", "exit-code", NOW, 3.0, "mark: no answer", NOW, 3)
    assert reasons(failed) == ["the last removal of images failed (exit-code, 3 times): mark: no answer"]


def test_nothing_for_too_long_is_trouble_but_not_before_its_time() -> None:
    late = NOW + timedelta(hours=50)
    assert reasons(WELL, now=late) == ["the last removal of images was 50 hours ago; one is due every 24 hours"]
    assert reasons(WELL, waiting=3600, now=late) == []
    assert reasons(Ran("retention"), waiting=3600) == []
    assert reasons(Ran("retention"), waiting=50 * 3600) == [
        "the last removal of images never ended well; one is due every 24 hours"
    ]
