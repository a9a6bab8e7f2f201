"""How the plots look: colours, and a function for each that draws its data on a matplotlib figure.

Each plot is drawn twice: for a desktop's page, and narrow, for a phone's. It is as wide as the page, so its text is as
large as that of the page.
"""

from dataclasses import dataclass
from typing import Any

WIDTH, NARROW_WIDTH = 7.6, 3.6  # inches


@dataclass(frozen=True)
class Theme:
    """Colours that can be told apart by the colour-blind: Okabe and Ito's, made lighter for the dark page."""

    name: str
    text: str
    faint: str
    grid: str
    ours: str
    theirs: str
    third: str
    fourth: str
    shade: str


THEMES = (
    Theme("light", "#1f2328", "#656d76", "#d8dee4", "#0072b2", "#d55e00", "#00805d", "#8e4585", "#eceff2"),
    Theme("dark", "#e6e8eb", "#9aa1a9", "#33373d", "#56b4e9", "#f28e3c", "#2bc79a", "#d98bd0", "#212429"),
)


def draw_pressure(figure: Any, data: Any, theme: Theme, *, narrow: bool) -> None:
    """Lines on a logarithmic scale. Two lie on each other: one is a broad band, the other a dashed line upon it."""
    figure.set_size_inches(NARROW_WIDTH if narrow else WIDTH, 3.7)
    axes = figure.add_subplot()
    looks = {
        "stdlib": {"color": theme.theirs, "linewidth": 6, "alpha": 0.45, "solid_capstyle": "round"},
        "urllib3": {"color": theme.third, "linewidth": 1.6, "linestyle": "--", "marker": "s", "markersize": 4.5},
        "safeconnect": {"color": theme.ours, "linewidth": 2.4, "marker": "o", "markersize": 4.5},
    }
    for name, points in data.items():
        axes.plot(*zip(*points, strict=True), **looks[name])
    axes.set_yscale("log")
    axes.set_ylim(14, 2300)
    axes.set_yticks([20, 50, 100, 200, 500, 1000], ["20", "50", "100", "200", "500", "1,000"])
    axes.minorticks_off()
    axes.set_xlim(0, 100)
    axes.set_xticks(range(0, 101, 20 if narrow else 10))
    axes.set_xlabel("source ports in use, %" if narrow else "source ports in use toward one destination, %")
    axes.set_ylabel("one connect, µs (median)")
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.text(98, 1800, "standard library (band)", color=theme.theirs, ha="right", va="center")
    axes.text(98, 1300, "urllib3 (dashed, on the band)", color=theme.third, ha="right", va="center")
    axes.text(98, 48, "safeconnect", color=theme.ours, ha="right", va="center")
    axes.text(1, 29, "all three", color=theme.faint, va="center")


CLIENTS = {
    "stdlib": "standard library",
    "asyncio": "asyncio, its own delay",
    "safeconnect, memory": "… with ConnectMemory",
}
CASES = {
    "dead": "first address dead",
    "again": "the same once more",
    "refused": "first address refuses",
    "dead_20": "20 dead, one good, timeout 2 s",
    "lookup": "lookup hangs 3 s, timeout 0.5 s",
    "exit": "then: until the process ends",
}


def draw_failover(figure: Any, data: Any, theme: Theme, *, narrow: bool) -> None:
    """A panel for each case, a line in it for each client."""
    figure.set_size_inches(*(NARROW_WIDTH, 11.5) if narrow else (WIDTH, 6.4))
    panels = figure.subplots(*(6, 1) if narrow else (3, 2), squeeze=False, sharex=True, sharey=True)
    names = [name for name in data["dead"] if not name.startswith("safeconnect")]
    names = ["safeconnect", "safeconnect, memory", *names]
    for axes, (case, title) in zip(panels.T.flat, CASES.items(), strict=True):
        colours = [theme.ours if name.startswith("safeconnect") else theme.theirs for name in names]
        axes.hlines(
            range(len(names)), 1e-5, [data[case][name][0] for name in names], colours, linewidth=1.4, alpha=0.55
        )
        for row, name in enumerate(names):
            seconds, failed = data[case][name]
            axes.scatter(seconds, row, s=34, color=colours[row], marker="x" if failed else "o", linewidth=2, zorder=3)
            said = f"gives up, {in_words(seconds)}" if failed else in_words(seconds)
            axes.annotate(said, (seconds, row), (7, 0), "data", "offset points", va="center", fontsize=8.5)
        axes.set_title(title, loc="left", fontsize=10, color=theme.text, x=-0.55 if narrow else 0)
        axes.set_xscale("log")
        axes.set_xlim(3e-5, 3e5 if narrow else 3000)
        ticks = {1e-4: "0.1 ms", 1e-3: "1 ms", 1e-2: "10 ms", 1e-1: "0.1 s", 1: "1 s", 10: "10 s", 100: "100 s"}
        shown = list(ticks)[:: 2 if narrow else 1]
        axes.set_xticks(shown, [ticks[tick] for tick in shown])
        axes.minorticks_off()
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", color=theme.grid, linewidth=0.8)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), [CLIENTS.get(name, name) for name in names], fontsize=9)
        axes.tick_params(axis="y", length=0)
    of = "time until connected or failed (log.)" if narrow else "time until connected, or until the error (logarithmic)"
    figure.supxlabel(of, fontsize=10, color=theme.text)


def in_words(seconds: float) -> str:
    """A time with its unit, in two digits or so."""
    if seconds < 0.001:
        return f"{seconds * 1000:.2f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def draw_race(figure: Any, data: Any, theme: Theme, *, narrow: bool) -> None:
    """A bar for each attempt, its end with a word. Narrow, the words are above the bars."""
    figure.set_size_inches(*(NARROW_WIDTH, 3.4) if narrow else (WIDTH, 2.7))
    axes = figure.add_subplot()
    looks = {"connected": theme.third, "refused": theme.theirs, "abandoned": theme.faint}
    for row, bar in enumerate(data):
        _, begin, end, outcome = bar
        colour = looks[outcome]
        hollow = outcome == "abandoned"
        axes.barh(
            row,
            (end - begin) * 1000,
            left=begin * 1000,
            height=0.36 if narrow else 0.5,
            color="none" if hollow else colour,
            edgecolor=colour,
            linewidth=1.5,
            linestyle="--" if hollow else "-",
        )
        said = {"abandoned": "no answer yet, abandoned"}.get(outcome, outcome)
        said = f"{said} at {end * 1000:.0f} ms" if outcome != "abandoned" else said
        if narrow:
            axes.text(0, row - 0.36, f"{bar[0]}: {said}", fontsize=9, color=colour, va="center")
            continue
        axes.annotate(said, (end * 1000, row), (6, 0), "data", "offset points", va="center", color=colour)
        axes.annotate(
            f"{begin * 1000:.0f} ms",
            (begin * 1000, row),
            (-4, 0),
            "data",
            "offset points",
            va="center",
            ha="right",
            fontsize=8.5,
            color=theme.faint,
        )
    axes.set_yticks(range(len(data)), [bar[0] for bar in data])
    axes.set_ylim(len(data) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelleft=not narrow)
    axes.set_xlim(*(-20, 740) if narrow else (-70, 940))
    axes.set_xticks(range(0, 701 if narrow else 901, 100))
    axes.set_xlabel("time since the call, ms")
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)


def draw_storm(figure: Any, data: Any, theme: Theme, *, narrow: bool) -> None:
    """A panel for each contender, one above the other."""
    scene = data["scene"]
    figure.set_size_inches(NARROW_WIDTH if narrow else WIDTH, 6.6)
    panels = figure.subplots(len(data["contenders"]), 1, sharex=True, sharey=True)
    for axes, (name, each) in zip(panels, data["contenders"].items(), strict=True):
        colour = theme.ours if "Backoff()" in name or "budget" in name else theme.theirs
        counts = [max(count, 1) for count in each["syns_per_s"]]
        axes.axvspan(0, scene["outage"], color=theme.shade, linewidth=0)
        edges = range(len(counts) + 1)
        axes.stairs(counts, edges, baseline=1, fill=True, facecolor=(colour, 0.35), edgecolor=colour, linewidth=1.2)
        axes.axhline(scene["rate"], color=theme.text, linewidth=0.9, linestyle="--")
        axes.set_yscale("log")
        axes.set_ylim(1e2, 1.2e9)
        axes.set_yticks([1e3, 1e5, 1e7], ["1 k", "100 k", "10 M"])
        axes.minorticks_off()
        axes.set_xlim(0, 300)
        axes.grid(axis="y", color=theme.grid, linewidth=0.6)
        axes.text(297, 2e8, name, ha="right", va="center", color=colour, weight="bold")
        axes.text(297, 1.2e7, f"all back {each['all']:.0f} s after the return", ha="right", va="center", fontsize=9)
    down = "down" if narrow else "server down"
    panels[0].text(scene["outage"] / 2, 3e8, down, ha="center", va="center", fontsize=9, color=theme.faint)
    accepts = f"the server accepts {scene['rate']:,}/s"
    panels[1].text(297, scene["rate"] / 1.6, accepts, ha="right", va="top", fontsize=9)
    panels[-1].set_xlabel("time since the loss, s")
    of = "attempts that reach the host each second (SYNs)"
    figure.supylabel(of if narrow else of.replace("attempts", "attempts to connect"), fontsize=10, color=theme.text)


def draw_connect(figure: Any, data: Any, theme: Theme, *, narrow: bool) -> None:
    """Bars in groups; only those of one group were measured side by side."""
    figure.set_size_inches(NARROW_WIDTH if narrow else WIDTH, 6.4)
    axes = figure.add_subplot()
    ticks = []
    row = 0.0
    for group, contenders in data.items():
        axes.text(2, row, group, weight="bold", va="center")
        row += 1
        for name, value in sorted(contenders.items(), key=lambda item: item[1]):
            colour = theme.ours if name.startswith("safeconnect") else theme.theirs
            colour = theme.faint if name == "bare" else colour
            axes.barh(row, value, height=0.66, color=colour)
            axes.annotate(f"{value:.0f}", (value, row), (5, 0), "data", "offset points", va="center", fontsize=9)
            ticks.append((row, SHORT.get(name, name)))
            row += 1
        row += 0.35
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(row - 0.6, -0.8)
    axes.set_xlim(0, 280)
    axes.set_xlabel("one connect, µs (median)" if narrow else "one connect to 127.0.0.1, µs (median)")
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)


SHORT = {
    "stdlib": "standard library",
    "bare": "bare system calls",
    "safeconnect.asyncio.create_connection": "safeconnect.asyncio",
    "safeconnect.asyncio.open_connection": "safeconnect.asyncio",
    "safeconnect.trio.open_tcp_stream": "safeconnect.trio",
    "aiohappyeyeballs.start_connection": "aiohappyeyeballs",
    "asyncio.open_connection": "asyncio",
    "trio.open_tcp_stream": "trio",
    "anyio.connect_tcp": "anyio",
    "aiohttp.TCPConnector.connect": "aiohttp's pool",
}
