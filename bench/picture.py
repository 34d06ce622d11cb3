"""The latencies as a bar picture (SVG) that is legible on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Template

from bench.goals import SINGLE_WAIT_P50_MS
from bench.load import Figures, medians

WIDTH = 720
LEFT = 220
RIGHT = 80
ROW = 26
BAR = 14
TOP = 44

PAGE = Template("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" width="$width" height="$height" role="img">
<title>Latencies of the benchmark's scenarios, in milliseconds</title>
<style>
  text { font-family: system-ui, sans-serif; font-size: 13px; fill: #3f4650; }
  .title { font-weight: 600; }
  .bar { fill: #64748b; }
  .tail { fill: #a3aebd; }
  .goal { stroke: #b45309; stroke-width: 2; }
  .note { fill: #b45309; font-size: 11px; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9; }
    .bar { fill: #94a3b8; }
    .tail { fill: #56616f; }
    .goal { stroke: #f0a04b; }
    .note { fill: #f0a04b; }
  }
</style>
<text class="title" x="$left" y="24">Latency in ms: median of the rounds, less is better</text>
$rows
</svg>
""")
BAR_ROW = Template("""\
<text x="$label_x" y="$text_y" text-anchor="end">$label</text>
<rect class="$kind" x="$left" y="$bar_y" width="$length" height="$bar" rx="2"/>
<text x="$value_x" y="$text_y">$value</text>""")
GOAL = Template("""\
<line class="goal" x1="$x" x2="$x" y1="$y1" y2="$y2"/>
<text class="note" x="$note_x" y="$note_y">goal: under $limit</text>""")


def picture(figures: Mapping[str, Sequence[Figures]]) -> str:
    """One bar per latency, all on one scale."""
    latencies = list(_latencies(figures))
    longest = max((SINGLE_WAIT_P50_MS, *(value for *_, value in latencies)))
    scale = (WIDTH - LEFT - RIGHT) / longest
    rows = [_row(index, scale, *latency) for index, latency in enumerate(latencies)]
    height = TOP + ROW * len(latencies) + 12
    return PAGE.substitute(width=WIDTH, height=height, left=LEFT, rows="\n".join(rows))


def _latencies(figures: Mapping[str, Sequence[Figures]]) -> Iterator[tuple[str, str, float]]:
    """(scenario, figure, milliseconds) of every figure that is a latency."""
    for name, rounds in figures.items():
        for key, value in medians(rounds).items():
            if key.endswith("_ms"):
                yield name, key.removesuffix("_ms").replace("_", " "), value


def _row(index: int, scale: float, scenario: str, figure: str, value: float) -> str:
    top = TOP + ROW * index
    end = LEFT + value * scale
    goal = LEFT + SINGLE_WAIT_P50_MS * scale if (scenario, figure) == ("single_wait", "p50") else None
    value_x = max(end, goal or 0) + 8
    row = BAR_ROW.substitute(
        label=f"{scenario} {figure}",
        label_x=LEFT - 10,
        kind="tail" if figure == "p99" else "bar",
        left=LEFT,
        length=f"{end - LEFT:.1f}",
        bar=BAR,
        bar_y=top,
        text_y=top + 12,
        value=f"{value:.1f}",
        value_x=f"{value_x:.1f}",
    )
    return row if goal is None else f"{row}\n{_goal(top, goal, value_x)}"


def _goal(top: int, x: float, value_x: float) -> str:
    """A line where the bar must not reach, and its meaning after the value of the bar."""
    return GOAL.substitute(
        x=f"{x:.1f}",
        y1=top - 3,
        y2=top + BAR + 3,
        note_x=f"{value_x + 48:.1f}",
        note_y=top + 12,
        limit=f"{SINGLE_WAIT_P50_MS:g}",
    )
