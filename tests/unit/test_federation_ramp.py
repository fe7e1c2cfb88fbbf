"""What a member's numbers come to, what they allow, and a ramp played through with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from binder_node.errors import DeadlineError
from binder_node.events import Event, silent
from binder_node.federation.config import CHART, Federation, Member
from binder_node.federation.gate import Limits, judge
from binder_node.federation.measured import Counters, Disk, Health, Numbers, Sample, counters, health, numbers, quantile
from binder_node.federation.ramp import Pace, Ramp, Ways
from binder_node.federation.steps import after, before, decide, room, steps, target

METRICS = """\
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e+09
# HELP binderhub_launch_time_seconds Histogram of launch times
# TYPE binderhub_launch_time_seconds histogram
binderhub_launch_time_seconds_bucket{le="2.0",retries="0",status="success"} 1.0
binderhub_launch_time_seconds_bucket{le="5.0",retries="0",status="success"} 8.0
binderhub_launch_time_seconds_bucket{le="+Inf",retries="0",status="success"} 9.0
binderhub_launch_time_seconds_count{retries="0",status="success"} 9.0
binderhub_launch_time_seconds_sum{retries="0",status="success"} 40.0
binderhub_launch_time_seconds_bucket{le="2.0",retries="1",status="success"} 0.0
binderhub_launch_time_seconds_bucket{le="5.0",retries="1",status="success"} 1.0
binderhub_launch_time_seconds_bucket{le="+Inf",retries="1",status="success"} 1.0
binderhub_launch_time_seconds_count{retries="1",status="success"} 1.0
binderhub_launch_time_seconds_sum{retries="1",status="success"} 4.0
binderhub_launch_time_seconds_bucket{le="2.0",retries="-1",status="retry"} 2.0
binderhub_launch_time_seconds_bucket{le="5.0",retries="-1",status="retry"} 2.0
binderhub_launch_time_seconds_bucket{le="+Inf",retries="-1",status="retry"} 2.0
binderhub_launch_time_seconds_count{retries="-1",status="retry"} 2.0
binderhub_launch_time_seconds_sum{retries="-1",status="retry"} 2.0
# HELP binderhub_launch_count_total Counter of launches by repo
# TYPE binderhub_launch_count_total counter
binderhub_launch_count_total{provider="GitHub",repo="https://github.com/a/b",status="success"} 7.0
binderhub_launch_count_total{provider="Git",repo="https://example.org/c",status="success"} 3.0
binderhub_launch_count_total{provider="GitHub",repo="https://github.com/a/b",status="failure"} 1.0
binderhub_launch_count_total{provider="GitHub",repo="https://github.com/a/b",status="pod_quota"} 4.0
# HELP binderhub_build_count_total Counter of builds by repo
# TYPE binderhub_build_count_total counter
binderhub_build_count_total{provider="Git",repo="https://example.org/c",status="failure"} 2.0
# HELP binderhub_inprogress_builds Builds currently in progress
# TYPE binderhub_inprogress_builds gauge
binderhub_inprogress_builds 3.0
# HELP binderhub_inprogress_launches Launches currently in progress
# TYPE binderhub_inprogress_launches gauge
binderhub_inprogress_launches 1.0
"""


def test_metrics_are_read_by_status_and_over_all_repositories() -> None:
    found = counters(METRICS)
    assert found == Counters(
        started=1.7e9,
        launches={"success": 10, "failure": 1, "pod_quota": 4},
        retries=2,
        ready={2.0: 1, 5.0: 9, float("inf"): 10},
        builds={"failure": 2},
        building=3,
        launching=1,
    )


def test_metrics_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="no metrics of BinderHub's"):
        counters("# TYPE up gauge\nup 1\n")


def test_health_without_a_quota_and_with_a_bad_service() -> None:
    quota = {"service": "Pod quota", "total_pods": 9, "user_pods": 7, "quota": None, "ok": True}
    assert health({"checks": [{"service": "JupyterHub API", "ok": False}, quota]}) == Health(("JupyterHub API",), 9, 7)
    over = {**quota, "quota": 8, "ok": False, "_ignore_failure": True}
    assert health({"checks": [over]}) == Health((), 9, 7, 8)
    with pytest.raises(ValueError, match="no health of BinderHub's"):
        health({"ok": True})


def sample(at: float, *processes: Counters, **more: object) -> Sample:
    return replace(Sample(at, tuple(processes)), **more)  # type: ignore[arg-type]


def process(started: float = 0.0, good: float = 0, bad: float = 0, **more: object) -> Counters:
    ready = {5.0: good, float("inf"): good}
    return replace(Counters(started, {"success": good, "failure": bad}, ready=ready), **more)  # type: ignore[arg-type]


def seen(*samples: Sample) -> Numbers:
    return numbers(samples, headroom=10, build_limit=4)


def test_only_what_was_counted_within_the_window_counts() -> None:
    found = seen(sample(100, process(good=50, bad=9)), sample(160, process(good=70, bad=10)))
    assert (found.launched, found.failed, found.tried) == (20, 1, 21)
    assert found.ready == pytest.approx(4.75)


def test_a_process_that_restarts_within_the_window_counts_from_zero() -> None:
    found = seen(
        sample(100, process(started=1, good=50)),
        sample(160, process(started=1, good=60)),
        sample(220, process(started=200, good=5)),
    )
    assert found.launched == 15


def test_replicas_that_answer_in_turns_are_each_counted_from_their_first_sight() -> None:
    found = seen(
        sample(100, process(started=1, good=50)),
        sample(110, process(started=2, good=1000)),
        sample(120, process(started=1, good=53)),
        sample(130, process(started=2, good=1004)),
    )
    assert found.launched == 7


def test_replicas_that_started_at_the_same_moment_are_two() -> None:
    def look(at: float, one: float, other: float) -> Sample:
        return sample(at, process(good=one, pod="binder-1"), process(good=other, pod="binder-2"))

    assert seen(look(100, 50, 7), look(160, 60, 9)).launched == 12


def test_shares_of_looks_say_how_long_builds_waited_and_the_quota_was_near() -> None:
    full, free = Health((), 55, 50, 60), Health((), 20, 15, 60)
    found = seen(
        sample(0, process(building=4), health=full),
        sample(1, process(building=1), health=free),
        sample(2, process(building=5), health=free),
        sample(3, process(building=0), health=free),
    )
    assert (found.queued, found.building, found.full, found.pods, found.quota) == (0.5, 5, 0.25, 55, 60)


def test_the_quantile_in_the_last_bucket_is_its_lower_bound() -> None:
    assert quantile(0.95, {60.0: 1, float("inf"): 10}) == 60
    assert quantile(0.95, {}) is None
    assert quantile(0.95, {60.0: 0, float("inf"): 0}) is None


GOOD = Numbers(3600, 60, launched=200, failed=1, ready=6.0, pods=10, quota=60, disk=Disk("/", 40))
LIMITS = Limits(build_limit=4, disk=75, evict=92)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"launched": 90, "failed": 10}, "failed launches: 10 of 100 (10%), 5% is the limit"),
        ({"ready": 75.0}, "time to ready: 95 of 100 within 75 s, 60 s is the limit"),
        ({"queued": 0.6}, "builds: 4 or more ran at 60% of the looks, others waited"),
        ({"disk": Disk("/var/lib", 93)}, "disk: /var/lib is 93 % full, pods are evicted from 92 % on"),
        ({"disk": Disk("/", 50, pressure=True)}, "disk: / is 50 % full, Kubernetes says DiskPressure"),
        ({"full": 0.6, "pods": 55}, "quota: 55 pods of 60, out of rotation at 60% of the looks"),
        ({"silent": 3, "error": "refused"}, "no answer for 3 looks: refused"),
        ({"ill": 3, "bad": ("JupyterHub API",)}, "/health says not ok for 3 looks: JupyterHub API"),
    ],
)
def test_each_regression_steps_back_and_says_why(change: dict[str, object], word: str) -> None:
    assert judge(GOOD, LIMITS).back == ()
    assert judge(replace(GOOD, **change), LIMITS).back == (word,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"launched": 10, "failed": 0}, "10 launches, fewer than 20 tell nothing"),
        ({"launched": 60, "failed": 2}, "failed launches: 2 of 62, near the limit"),
        ({"ready": 40.0}, "time to ready: 40 s, near the limit"),
        ({"queued": 0.1}, "builds: at the limit of 4 at 10% of the looks"),
        ({"disk": Disk("/", 80)}, "disk: / is 80 % full, images are removed"),
        ({"full": 0.1, "pods": 52}, "quota: 52 pods of 60, out of rotation at 10% of the looks"),
        ({"silent": 1, "error": "refused"}, "the last look failed: refused"),
    ],
)
def test_what_is_no_regression_yet_holds(change: dict[str, object], word: str) -> None:
    found = judge(replace(GOOD, **change), LIMITS)  # type: ignore[arg-type]
    assert found.back == ()
    assert found.hold[0].startswith(word)


def test_a_few_failures_of_a_few_launches_are_chance_and_one_look_is_no_trend() -> None:
    assert judge(replace(GOOD, launched=4, failed=2), LIMITS).back == ()
    assert judge(replace(GOOD, looks=1, queued=1.0, full=1.0), LIMITS).back == ()


def test_twice_as_slow_as_the_step_before_is_a_regression_unless_it_is_quick_still() -> None:
    assert judge(replace(GOOD, ready=29.0), LIMITS, replace(GOOD, ready=12.0)).back == (
        "time to ready: 95 of 100 within 29 s, 12 s at the step before (24 s is the limit)",
    )
    assert judge(replace(GOOD, ready=14.0), LIMITS, replace(GOOD, ready=4.0)).back == ()


def test_steps_are_the_federations_own_ramps_in_kind() -> None:
    assert steps(0, 50) == [6, 12, 24, 50]
    assert steps(0, 70) == [9, 18, 36, 70]
    assert steps(10, 50) == [20, 50]
    assert steps(0, 1) == [1]
    assert [before(weight, 50) for weight in (6, 12, 24, 30, 50)] == [0, 6, 12, 24, 24]
    assert all(after(weight, 100) <= max(2 * weight / 0.8, 13) for weight in range(100))


def federation(weight: float, prime: str = "one") -> Federation:
    members = [("one", 50.0), ("two", 50.0), ("new", weight)]
    urls = {name: f"https://{name}.test" for name, _ in members}
    made = [
        Member(name, urls[name], f"{urls[name]}/health", f"{urls[name]}/versions", part, name == prime)
        for name, part in members
    ]
    return Federation(tuple(made), CHART)


def test_the_target_is_what_was_asked_for_or_the_others_median_and_never_more_than_the_quota_takes() -> None:
    assert target(30, federation(0), "new", 300, [40, 50], 10).weight == 30
    assert target(0, federation(0), "new", 300, [40, 50], 10).weight == 50
    small = target(0, federation(0), "new", 60, [100, 100], 10)
    assert small.weight == 25  # a fifth of 200 pods are the 40 that 50 have room for
    assert small.why == "200 pods of the others and a quota of 60 allow no more"
    assert target(0, federation(0), "new", 0, [100], 10).weight == 1


def test_a_step_goes_no_further_than_its_pods_will_fit() -> None:
    there = replace(GOOD, pods=30)
    # 10 of 110 brought 30 pods: 40 fit, which is 12 % of the traffic.
    assert room(10, 100, there, 10) == 13
    decision = decide(10, 50, 100, there, judge(there, LIMITS), 10)
    assert (decision.what, decision.weight) == ("go", 13)
    assert decision.reasons[1] == "30 pods of 60 at weight 10 leave room for 13, not 20"
    crowded = replace(GOOD, pods=45)
    assert decide(10, 50, 100, crowded, judge(crowded, LIMITS), 10).what == "hold"


# --- the whole of it -----------------------------------------------------------------------------------------------


@dataclass
class World:
    """A member under a load that follows its weight, and a clock that only moves when somebody sleeps."""

    weight: float = 0
    now: float = 1000.0
    good: float = 0.0
    bad: float = 0.0
    failing: Callable[[float], float] = lambda _: 0.0
    prime: str = "one"
    written: list[int] = field(default_factory=list)
    looks: int = 0

    def federation(self) -> Federation:
        return federation(self.weight, self.prime)

    def write(self, weight: int) -> str:
        self.weight = weight
        self.written.append(weight)
        return f"+weight: {weight}"

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        launches, share = self.weight * seconds / 10, self.failing(self.weight)
        self.good, self.bad = self.good + launches * (1 - share), self.bad + launches * share

    def look(self) -> Sample:
        self.looks += 1
        return sample(self.now, process(0, self.good, self.bad), health=Health((), 3 + int(self.weight / 10), 3, 60))

    def ramp(self, goal: int, **more: object) -> Ramp:
        ways = Ways(self.look, clock=lambda: self.now, sleep=self.sleep, **more)  # type: ignore[arg-type]
        return Ramp(self, "new", goal, LIMITS, Pace(600, 10), ways, silent)


def test_each_run_watches_a_window_and_writes_one_step() -> None:
    world = World()
    assert [step.decision.what for step in world.ramp(50).run(watch=False)] == ["go"]
    assert (world.written, world.looks) == ([6], 0)
    [step] = world.ramp(50).run(watch=False)
    assert (step.weight, step.decision.weight, step.seen and step.seen.seconds) == (6, 12, 600)
    assert step.diff == "+weight: 12"


def test_a_watched_ramp_goes_all_the_way() -> None:
    world, deployed = World(), list[int]()
    last = world.ramp(50, deploy=deployed.append).run(watch=True)[-1]
    assert world.written == deployed == [6, 12, 24, 50]
    assert last.decision.what == "done"


def test_a_regression_at_the_third_step_is_taken_back_before_its_window_ends() -> None:
    world = World(failing=lambda weight: 0.2 if weight >= 24 else 0.0)
    said: list[Event] = []
    ramp = world.ramp(50)
    ramp.report = said.append
    last = ramp.run(watch=True)[-1]
    assert world.written == [6, 12, 24, 12]
    assert (last.decision.what, last.decision.weight) == ("back", 12)
    assert last.seen is not None
    assert last.seen.seconds < 60
    assert said[-1].message.startswith("new: back from weight 24 to 12: failed launches: ")
    assert said[-1].data["seen"]["failed"] >= 3


def test_a_member_that_is_not_ready_gets_no_first_weight() -> None:
    world = World()
    [step] = world.ramp(50, ready=lambda: ("another secret",)).run(watch=True)
    assert (step.decision.what, step.decision.reasons, world.written) == ("hold", ("another secret",), [])


def test_a_prime_keeps_its_weight_where_the_first_step_goes_wrong() -> None:
    world = World(weight=6, prime="new", failing=lambda _: 1.0)
    [step] = world.ramp(50).run(watch=False)
    assert (step.decision.what, step.decision.weight, world.weight) == ("back", 6, 6)
    assert "make another one prime" in step.decision.reasons[-1]


def test_a_weight_that_nobody_deploys_is_not_judged() -> None:
    world = World(weight=12)
    with pytest.raises(DeadlineError, match="route to new by weight 12"):
        world.ramp(50, in_force=lambda: 6.0).run(watch=False)
    assert world.looks == 0


def test_too_few_launches_hold_the_weight() -> None:
    world = World(weight=12)
    world.sleep = lambda seconds: setattr(world, "now", world.now + seconds)  # type: ignore[method-assign]
    [step] = world.ramp(50).run(watch=False)
    assert (step.decision.what, world.written) == ("hold", [])
    assert step.decision.reasons[0].startswith("0 launches")
