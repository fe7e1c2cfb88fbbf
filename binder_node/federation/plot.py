"""A simulation as a picture: SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from binder_node.federation.simulate import Result
from binder_node.svg import BLACK, COLOURS, LEFT, RIGHT, WIDTH, Panel, legend, picture, text

LOST = BLACK
PODS, REQUESTS = (60, 250), (370, 170)  # top and height
STRIPS, STRIP = 600, 18


def svg(result: Result, quotas: Mapping[str, int | None], title: str) -> str:
    """The picture: each member's pods with its quota, requests by member, and who was in rotation."""
    names = [tally.name for tally in result.tallies]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    parts = [
        text(LEFT, 24, title, "start", 16),
        *legend({**colours, "lost": LOST}, 36),
        *_pods(result, quotas, colours),
        *_requests(result, colours),
        *_rotation(result, colours),
    ]
    return picture(STRIPS + STRIP * len(names) + 40, parts)


def _pods(result: Result, quotas: Mapping[str, int | None], colours: Mapping[str, str]) -> Iterator[str]:
    most = max([1, *(tally.peak for tally in result.tallies), *(quota for quota in quotas.values() if quota)])
    panel = Panel.of(*PODS, result.seconds, most)
    yield from panel.frame("pods (dashed: quota)")
    for tally in result.tallies:
        quota, colour = quotas.get(tally.name), colours[tally.name]
        if quota:
            yield panel.level(quota, colour)
        every = result.seconds / len(tally.pods)
        yield panel.line((((number + 1) * every, pods) for number, pods in enumerate(tally.pods)), colour)


def _requests(result: Result, colours: Mapping[str, str]) -> Iterator[str]:
    """Bars, one a step, stacked by member; what was lost of them lies over their foot."""
    sums = [sum(tally.sent[step] for tally in result.tallies) for step in range(len(result.lost))]
    panel = Panel.of(*REQUESTS, result.seconds, max([1, *sums]))
    unit = f"{result.step / 60:g} min" if result.step >= 60 else f"{result.step:.2g} s"
    yield from panel.frame(f"requests in {unit}")
    every = result.seconds / len(sums)
    wide = max(panel.x(every) - LEFT - 0.5, 0.5)
    for step in range(len(sums)):
        below = 0.0
        for tally in result.tallies:
            yield from panel.bar(step * every, wide, below, tally.sent[step], colours[tally.name])
            below += tally.sent[step]
        yield from panel.bar(step * every, wide, 0, result.lost[step], LOST)


def _rotation(result: Result, colours: Mapping[str, str]) -> Iterator[str]:
    """A strip a member: filled while it is in; half as strong where half of the redirectors have it in."""
    yield text(LEFT, STRIPS - 8, "in rotation")
    panel = Panel(STRIPS, STRIP, 1.0, [1.0])
    for row, tally in enumerate(result.tallies):
        y = STRIPS + row * STRIP
        yield f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - RIGHT:.1f}" height="{STRIP - 6}" fill="#f2f2f2"/>'
        begin = 0
        for end in range(1, len(tally.inside) + 1):
            if end == len(tally.inside) or tally.inside[end] != tally.inside[begin]:
                left, right = panel.x(begin / len(tally.inside)), panel.x(end / len(tally.inside))
                if tally.inside[begin]:
                    yield (
                        f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{STRIP - 6}" '
                        f'fill="{colours[tally.name]}" fill-opacity="{tally.inside[begin]:.2g}"/>'
                    )
                begin = end
