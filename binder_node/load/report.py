"""A load as one page: its numbers and plots, nothing that is not in the file itself. Pure."""

from __future__ import annotations

from datetime import datetime
from html import escape

from binder_node.load import compare, plots
from binder_node.load.live import gigabytes, seconds
from binder_node.load.numbers import Spread, Summary, summary
from binder_node.load.result import Result
from binder_node.page import page, table, tiles

HEAD = ("", "launches", "p50", "p90", "p95", "p99", "longest")


def html(result: Result) -> str:
    """The report of one load."""
    found = summary(result.visits, result.arriving)
    parts = [
        f"<h1>Load on {escape(result.target)}</h1>",
        f'<p class="about">{escape(_about(result))}</p>',
        tiles(_numbers(result, found)),
        "<h2>Time to a ready server</h2>",
        "<p>Seconds from the click to BinderHub's word that the server is ready.</p>",
        table(HEAD, [[name, *_cells(spread)] for name, spread in _spreads(found)]),
        plots.launches(result),
        plots.shares([("cached", result, "cached"), ("built", result, "built")]),
        "<h2>Users</h2>",
        plots.users(result),
        *_causes(found),
        *_members(result, found),
        *(part for machine in result.machines for part in _machine(result, machine.name)),
        "<h2>What was asked</h2>",
        table(("option", "value"), [[name, _value(value)] for name, value in result.settings.items()]),
        f"<p>{escape(result.tool)}; seed, options and repositories draw the same users again.</p>",
    ]
    return page(f"Load on {result.target}", parts)


def comparison(before: Result, after: Result) -> str:
    """Two loads side by side."""
    warnings = [f"<li>{escape(warning)}</li>" for warning in compare.unlike(before, after)]
    rows = [[escape(text) for text in row.texts] for row in compare.rows(before, after)]
    parts = [
        f"<h1>{escape(before.target)}: before and after</h1>",
        f'<p class="about">Before: {escape(_about(before))}<br>After: {escape(_about(after))}</p>',
        *(["<p>The two loads are not alike:</p><ul>", *warnings, "</ul>"] if warnings else []),
        table(("", "before", "after", "change"), rows),
        *(
            part
            for kind in ("cached", "built")
            if any(visit.kind == kind and visit.launched for one in (before, after) for visit in one.visits)
            for part in (
                f"<h2>Time to a ready server, {kind}</h2>",
                plots.shares([("before", before, kind), ("after", after, kind)]),
            )
        ),
        f"<h2>Launches before</h2>{plots.launches(before, after)}",
        f"<h2>Launches after</h2>{plots.launches(after, before)}",
    ]
    return page(f"{before.target}: before and after", parts)


def _about(result: Result) -> str:
    when = datetime.fromisoformat(result.started).strftime("%Y-%m-%d %H:%M UTC")
    ends = {"plan": "all users had left", "time": "the time was over", "interrupted": "it was interrupted"}
    kind = "federation" if result.federation else "node"
    return f"{result.url} ({kind}), {when}, {seconds(result.seconds)}; ended when {ends[result.stopped]}"


def _numbers(result: Result, found: Summary) -> list[tuple[str, str]]:
    refused = found.outcomes.get("refused", 0)
    lost = found.outcomes.get("failed", 0) + found.outcomes.get("lost", 0)
    numbers = [
        (str(found.sent), "users"),
        (f"{found.rate * 60:.1f}", "a minute"),
        (str(found.peak), "servers at once"),
        (f"{found.ready.percentiles[95.0]:.1f} s" if found.ready else "–", "p95 to ready"),
        (str(lost), f"failed or lost ({found.failing:.1%})"),
        (str(refused), "refused (429, 503, quota)"),
    ]
    busy = [sample.cpu for machine in result.machines for sample in machine.samples]
    return [*numbers, (f"{max(busy):.0%}", "CPU at most")] if busy else numbers


def _spreads(found: Summary) -> list[tuple[str, Spread]]:
    named = {"all": found.ready, "cached": found.cached, "built": found.built, "first cell done": found.answered}
    return [(name, spread) for name, spread in named.items() if spread is not None]


def _cells(spread: Spread) -> list[str]:
    return [str(spread.count), *(f"{value:.1f} s" for value in spread.percentiles.values()), f"{spread.most:.1f} s"]


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "<br>".join(escape(str(item)) for item in value) or "–"
    return "–" if value is None else escape(str(value))


def _causes(found: Summary) -> list[str]:
    rows = [
        [escape(text) for text in (str(one.count), one.outcome, one.stage, one.cause, one.example)]
        for one in found.causes
    ]
    head = ("visits", "outcome", "where", "cause", "one of them was told")
    return ["<h2>Visits that ended early</h2>", table(head, rows)]


def _members(result: Result, found: Summary) -> list[str]:
    if not result.federation and len(found.members) < 2:
        return []
    rows = [[escape(name), str(count)] for name, count in found.members.items()]
    return ["<h2>Who served them</h2>", table(("member", "visits"), rows)]


def _machine(result: Result, name: str) -> list[str]:
    machine = next(one for one in result.machines if one.name == name)
    said = f"{machine.cpus} cores, {gigabytes(machine.memory)} of memory, {gigabytes(machine.disk)} of disk"
    limits = f"quota {machine.quota}, {machine.max_pods} pods, {machine.builds} builds at once"
    parts = [f"<h2>Node {escape(name)}</h2>", f"<p>{escape(f'{said}; {limits}')}</p>"]
    if machine.error:
        parts.append(f"<p>Not watched to the end: {escape(machine.error)}</p>")
    return [*parts, plots.machine(result, machine)] if machine.samples else parts
