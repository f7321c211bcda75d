"""Pictures of an evaluation: curves of the attackers, films before and after with the field. Needs matplotlib (extra [train])."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.training.biometrics.attackers import Pairs, Scores, same
from radanon_node.training.biometrics.evaluate import Verdict


def curve(scores: Scores, truth: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Receiver operating characteristic: false and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # ties are passed in one step
    hits = np.cumsum(truth[order])[ends] / max(int(truth.sum()), 1)
    alarms = np.cumsum(~truth[order])[ends] / max(int((~truth).sum()), 1)
    return np.concatenate([[0.0], alarms]), np.concatenate([[0.0], hits])


def draw_curves(verdicts: Sequence[Verdict], pairs: Pairs, path: Path) -> Path:
    """One panel per attacker, one curve per method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    attackers = list(verdicts[0].scores)
    figure = Figure(figsize=(4 * len(attackers), 4.3))
    FigureCanvasAgg(figure)
    for number, attacker in enumerate(attackers, 1):
        axes = figure.add_subplot(1, len(attackers), number)
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        for verdict in verdicts:
            axes.plot(*curve(verdict.scores[attacker], same(pairs)), label=f"{verdict.name} {verdict.attacks[attacker]['auc']:.2f}")
        axes.set(title=attacker, xlabel="other patients taken for this one", ylabel="patients recognised", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.legend(loc="lower right", fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def draw_examples(verdicts: Sequence[Verdict], path: Path, films: int = 3) -> Path:
    """Rows of films: the original, then each method's, then what differs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [verdict for verdict in verdicts if verdict.examples]
    shown = [verdict for verdict in drawn if verdict.ssim[0] < 1] or drawn  # the originals need no column of their own
    films = min([films, *(len(verdict.examples) for verdict in shown)])
    columns = 1 + 2 * len(shown)
    figure = Figure(figsize=(2.4 * columns, 2.6 * films))
    FigureCanvasAgg(figure)
    for row in range(films):
        before = shown[0].examples[row][0]
        panels: list[tuple[str, NDArray[Any], str, tuple[int, int]]] = [("original", before, "gray", (0, 255))]
        for verdict in shown:
            after = verdict.examples[row][1]
            panels.append((verdict.name, after, "gray", (0, 255)))
            panels.append(("difference", after.astype(np.int16) - before, "RdBu", (-60, 60)))
        for column, (title, picture, colours, span) in enumerate(panels):
            axes = figure.add_subplot(films, columns, row * columns + column + 1)
            axes.imshow(picture, cmap=colours, vmin=span[0], vmax=span[1])
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    return path


def draw_field(film: NDArray[np.uint8], moves: NDArray[np.float32], path: Path) -> Path:
    """A film under its field: arrows eight times as long as the moves, and how far each place moves.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
    moves : ndarray of float32, shape (side, side, 2)
        In pixels of the film.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 2, 1)
    axes.imshow(film, cmap="gray")
    side, step = moves.shape[0], max(1, moves.shape[0] // 32)
    at = np.arange(step // 2, side, step)
    scale = np.array([film.shape[1], film.shape[0]]) / side
    xs, ys = np.meshgrid((at + 0.5) * scale[0] - 0.5, (at + 0.5) * scale[1] - 0.5)
    picked = moves[np.ix_(at, at)]
    axes.quiver(xs, ys, picked[..., 0], picked[..., 1], angles="xy", scale_units="xy", scale=1 / 8, color="tab:orange", width=0.003)
    axes.set_axis_off()
    axes.set_title("moves, eight times enlarged", fontsize=9)
    axes = figure.add_subplot(1, 2, 2)
    shown = axes.imshow(np.hypot(moves[..., 0], moves[..., 1]), cmap="viridis")
    axes.set_axis_off()
    axes.set_title("length in pixels of the film", fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path
