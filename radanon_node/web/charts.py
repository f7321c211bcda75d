"""Charts as SVG, drawn on the server: lines told apart by dash and label, not by colour alone, with their figures in a table beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

_WIDTH, _HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 8, 10, 24
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "4 4", "1 3")


def number(value: float) -> str:
    """A count for people: 1,234 or 12.5k."""
    if abs(value) >= 100_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"


def seconds_text(value: float) -> str:
    """A duration for people: 42 s, 3 min, 5 h, 2 d.

    Examples
    --------
    >>> seconds_text(7300)
    '2.0 h'
    """
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if value < limit:
            return f"{value / unit:.0f} {name}" if unit < 3600 else f"{value / unit:.1f} {name}"
    return f"{value / 86400:.1f} d"


def size_text(value: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def chart(title: str, times: Sequence[float], series: Mapping[str, Sequence[float]], seconds: bool = False) -> Markup:
    """Lines over time.

    Parameters
    ----------
    title : str
    times : sequence of float
        Seconds since 1970, rising.
    series : mapping
        Name -> values, one per time.
    seconds : bool
        The values are durations.
    """
    shown = seconds_text if seconds else number
    if len(times) < 2:
        return Markup("<figure><figcaption>{}</figcaption><p>No figures yet: they come once a minute.</p></figure>").format(title)
    top = max([1e-9, *(value for values in series.values() for value in values)])
    span = max(1.0, times[-1] - times[0])
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, _summary(title, series, shown))]
    for share in (0.0, 0.5, 1.0):
        y = _TOP + height * (1 - share)
        parts.append(Markup('<line class="grid" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(_LEFT, y, _WIDTH - _RIGHT, y))
        parts.append(Markup('<text x="{}" y="{:.1f}" class="axis end">{}</text>').format(
            _LEFT - 6, y + 4, shown(top * share if top > 1e-9 else 0)))
    for at, kind in ((times[0], "start"), (times[-1], "end")):
        x = _LEFT if kind == "start" else _WIDTH - _RIGHT
        parts.append(Markup('<text x="{}" y="{}" class="axis {}">{}</text>').format(x, _HEIGHT - 4, kind, _time(at, span)))
    for index, values in enumerate(series.values()):
        points = " ".join(f"{_LEFT + width * (at - times[0]) / span:.1f},{_TOP + height * (1 - value / top):.1f}"
                          for at, value in zip(times, values, strict=True))
        parts.append(Markup('<polyline class="line line{}" stroke-dasharray="{}" points="{}"/>').format(
            index % len(_DASHES), _DASHES[index % len(_DASHES)], points))
    parts.append(Markup("</svg>"))
    legend = Markup("").join(
        Markup('<li><svg viewBox="0 0 30 8" aria-hidden="true" class="key"><line class="line line{}" stroke-dasharray="{}" x1="0" y1="4" '
               'x2="30" y2="4"/></svg> {} <b>{}</b></li>').format(
            index % len(_DASHES), _DASHES[index % len(_DASHES)], name, shown(values[-1]))
        for index, (name, values) in enumerate(series.items()))
    return Markup("<figure><figcaption>{}</figcaption>{}<ul class='legend'>{}</ul></figure>").format(title, Markup("").join(parts), legend)


def _summary(title: str, series: Mapping[str, Sequence[float]], shown: Callable[[float], str]) -> str:
    return f"{title}: " + "; ".join(f"{name} now {shown(values[-1])}, most {shown(max(values))}" for name, values in series.items())


def _time(at: float, span: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M" if span < 86400 else "%Y-%m-%d %H:%M")
