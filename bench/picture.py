"""The latencies as a bar picture (SVG) that is legible on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from string import Template

from bench.goals import GOALS
from bench.load import medians
from bench.record import Measured
from bench.units import named

WIDTH = 760
LEFT = 220
RIGHT = 190
ROW = 34
BAR = 14
THIN = 5
TOP = 44

PAGE = Template("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" width="$width" height="$height" role="img">
<title>Latencies of the benchmark's scenarios, in milliseconds</title>
<style>
  text { font-family: system-ui, sans-serif; font-size: 13px; fill: #3f4650; }
  .title { font-weight: 600; }
  .bar { fill: #64748b; }
  .bare { fill: #a3aebd; }
  .goal { stroke: #b45309; stroke-width: 2; }
  .note { fill: #b45309; font-size: 11px; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9; }
    .bar { fill: #94a3b8; }
    .bare { fill: #56616f; }
    .goal { stroke: #f0a04b; }
    .note { fill: #f0a04b; }
  }
</style>
<text class="title" x="$left" y="24">Latency in ms: Treadle, and thin below it bare langgraph; less is better</text>
$rows
</svg>
""")
BAR_ROW = Template("""\
<text x="$label_x" y="$text_y" text-anchor="end">$label</text>
<rect class="bar" x="$left" y="$bar_y" width="$length" height="$bar" rx="2"/>
<text x="$value_x" y="$text_y">$value</text>""")
BARE = Template('<rect class="bare" x="$left" y="$y" width="$length" height="$thin" rx="1"/>')
GOAL = Template("""\
<line class="goal" x1="$x" x2="$x" y1="$y1" y2="$y2"/>
<text class="note" x="$note_x" y="$note_y">goal: $limit</text>""")


@dataclass(frozen=True)
class Latency:
    """Milliseconds, and where there are any: those of bare langgraph, and those that are promised."""

    label: str
    value: float
    bare: float | None
    goal: float | None


def picture(measured: Measured) -> str:
    """One row per latency that is promised or compared, all on one scale."""
    latencies = list(_latencies(measured))
    longest = max((1.0, *(max(each.value, each.bare or 0, each.goal or 0) for each in latencies)))
    scale = (WIDTH - LEFT - RIGHT) / longest
    rows = [_row(TOP + ROW * index, scale, latency) for index, latency in enumerate(latencies)]
    height = TOP + ROW * len(latencies) + 8
    return PAGE.substitute(width=WIDTH, height=height, left=LEFT, rows="\n".join(rows))


def _latencies(measured: Measured) -> Iterator[Latency]:
    goals = {(goal.scenario, goal.figure): goal.limit for goal in GOALS if not goal.of_bare}
    for name, rounds in measured.treadle.figures.items():
        bare = measured.bare.figures.get(name)
        for figure, value in medians(rounds).items():
            goal = goals.get((name, figure))
            floor = medians(bare)[figure] if bare else None
            if figure.endswith("_ms") and "p99" not in figure and (goal or floor):
                yield Latency(f"{name} {named(figure)}", value, floor, goal)


def _row(top: int, scale: float, latency: Latency) -> str:
    end, goal = LEFT + latency.value * scale, LEFT + (latency.goal or 0) * scale
    value_x = max(end, goal, LEFT + (latency.bare or 0) * scale) + 8
    parts = [
        BAR_ROW.substitute(
            label=latency.label,
            label_x=LEFT - 10,
            left=LEFT,
            length=f"{end - LEFT:.1f}",
            bar=BAR,
            bar_y=top,
            text_y=top + 12,
            value=f"{latency.value:.1f}",
            value_x=f"{value_x:.1f}",
        )
    ]
    if latency.bare is not None:
        y, length = top + BAR + 1, f"{latency.bare * scale:.1f}"
        parts.append(BARE.substitute(left=LEFT, y=y, length=length, thin=THIN))
    if latency.goal is not None:
        parts.append(_goal(top, goal, value_x + 48, latency.goal))
    return "\n".join(parts)


def _goal(top: int, x: float, note_x: float, limit: float) -> str:
    """A line where the bar should not reach beyond, and its meaning after the value of the bar."""
    y1, y2 = top - 3, top + BAR + 3
    return GOAL.substitute(
        x=f"{x:.1f}", y1=y1, y2=y2, note_x=f"{note_x:.1f}", note_y=top + 12, limit=f"{limit:g}"
    )
