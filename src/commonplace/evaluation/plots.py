"""Plots of a run: recall curves, scores, channel scores before and after calibration, the joint embedding space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CommonplaceError, QueryError
from commonplace.evaluation.runs import Run
from commonplace.i18n import _, system_reason
from commonplace.types import Query

if TYPE_CHECKING:
    from commonplace.collection import Collection

__all__ = ["plot"]

# Okabe and Ito 2008: people with colour blindness can distinguish them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
RELEVANT, OTHER = "#0072B2", "#E69F00"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "commonplace",  # makes the files reproducible
}
BINS = 24


def plot(
    run: Run,
    folder: str | os.PathLike[str],
    *,
    collection: Collection | None = None,
    format: Literal["svg", "png"] = "svg",
    sample: int = 1000,
    seed: int = 0,
) -> list[Path]:
    """Draw the plots of a run into ``folder``, which is made if absent, and return the paths of the files.

    ``recall``: mean recall@1..k by direction. ``scores``: the distribution of the scores of relevant and other hits,
    by modality. ``evidence``: the same by channel, before calibration (raw scores) and after it (contribution / weight
    in the score breakdown). With the run's ``collection`` also ``space``: at most ``sample`` stored vectors of each
    partition and as many queries, in the plane of their two principal components. A plot without data (no hits, fewer
    than three vectors) is left out. The plots are deterministic for a ``seed``.

    Raises CommonplaceError if matplotlib is absent or the folder cannot be written; QueryError for an unknown format,
    a ``sample`` < 1, or a collection with another model; ReadError if the picture of a query is gone.
    """
    if format not in ("svg", "png"):
        raise QueryError(_("format is {format!r}: choose svg or png").format(format=format))
    if sample < 1:
        raise QueryError(_("sample is {sample}: draw at least one vector").format(sample=sample))
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise CommonplaceError(
            _("plots need matplotlib, which is not installed: run `pip install 'commonplace-rag[eval]'`")
        ) from problem
    target = Path(folder)
    paths = []
    with matplotlib.rc_context(STYLE):
        drawn = {
            "recall": _recall(Figure, run),
            "scores": _scores(Figure, run),
            "evidence": _channel_scores(Figure, run),
        }
        if collection is not None:
            drawn["space"] = _space(Figure, run, collection, sample, seed)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for name, figure in drawn.items():
                if figure is not None:
                    path = target / f"{name}.{format}"
                    figure.savefig(path, dpi=150, metadata={"Date": None} if format == "svg" else {})
                    paths.append(path)
        except OSError as problem:
            raise CommonplaceError(
                _("the plots cannot be written to {target} ({reason}): choose another folder").format(
                    target=target, reason=system_reason(problem)
                )
            ) from problem
    return paths


def _recall(figure_of: Any, run: Run) -> Any:
    figure = figure_of(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, direction in enumerate(run.directions):
        curves = recall_curves(run, direction)
        axes.plot(
            range(1, run.k + 1),
            curves.mean(axis=0),
            color=COLOURS[number % len(COLOURS)],
            linestyle=("-", "--", ":")[number % 3],
            marker="o" if run.k <= 20 else None,
            markersize=3,
            label=f"{direction} ({len(curves)})",
        )
    axes.set(xlabel="k (hits)", ylabel="mean recall@k", ylim=(0, 1.02), xlim=(1 - 0.02 * run.k, run.k * 1.02))
    axes.locator_params(axis="x", integer=True)
    axes.legend(title="direction (queries)")
    return figure


def recall_curves(run: Run, direction: str) -> NDArray[np.float64]:
    """Return recall@1..k of each query of a direction, (queries, k)."""
    results = [result for result in run.results if result.direction == direction]
    relevant = np.zeros((len(results), run.k))
    for row, result in zip(relevant, results, strict=True):
        row[: len(result.hits)] = [hit.grade > 0 for hit in result.hits]
        row /= len(result.relevant)
    return np.cumsum(relevant, axis=1)


def _scores(figure_of: Any, run: Run) -> Any:
    hits = [hit for result in run.results for hit in result.hits]
    modalities = sorted({hit.modality for hit in hits})
    if not hits:
        return None
    figure = figure_of(figsize=(4 * len(modalities), 3.2), layout="constrained")
    top = max(hit.score for hit in hits)
    for axes, modality in zip(figure.subplots(1, len(modalities), squeeze=False)[0], modalities, strict=True):
        hits_of_modality = [hit for hit in hits if hit.modality == modality]
        groups = [[hit.score for hit in hits_of_modality if (hit.grade > 0) == relevant] for relevant in (True, False)]
        _histogram(axes, groups, (0.0, max(top, 1e-9)))
        axes.set(title=modality, xlabel="score")
    figure.axes[0].set_ylabel("share of hits")
    return figure


def _channel_scores(figure_of: Any, run: Run) -> Any:
    channels = channel_scores(run)
    if not channels:
        return None
    figure = figure_of(figsize=(8, 2.2 * len(channels) + 0.4), layout="constrained")
    values = [value for rows in channels.values() for _, value, _ in rows]
    low, top = min(values), max(values)
    grid = figure.subplots(len(channels), 2, squeeze=False)
    for (left, right), (channel, rows) in zip(grid, channels.items(), strict=True):
        for axes, column, limits in ((left, 0, None), (right, 1, (min(low, 0.0), max(top, 1e-9)))):
            groups = [[row[column] for row in rows if row[2] == relevant] for relevant in (True, False)]
            _histogram(axes, groups, limits)
        left.set_ylabel(f"{channel}\nshare of hits")
    grid[0][0].set_title("before: raw score")
    grid[0][1].set_title("after: what the score breakdown counts")
    return figure


def channel_scores(run: Run) -> dict[str, list[tuple[float, float, bool]]]:
    """Return by channel, for each hit on its list: (raw score, contribution / weight, whether relevant)."""
    scores_of_channel: dict[str, list[tuple[float, float, bool]]] = {}
    for result in run.results:
        for hit in result.hits:
            for component in hit.breakdown:
                if component.weight > 0 and component.rank > 0 and not component.channel.startswith("rerank:"):
                    row = (component.score, component.contribution / component.weight, hit.grade > 0)
                    scores_of_channel.setdefault(component.channel, []).append(row)
    return dict(sorted(scores_of_channel.items()))


def _histogram(axes: Any, groups: Sequence[Sequence[float]], limits: tuple[float, float] | None) -> None:
    """Draw two histograms over common bins, of relevant and of other values, each as shares of its group."""
    values = [value for group in groups for value in group]
    low, high = limits or (min(values), max(values))
    edges = np.linspace(low, high if high > low else low + 1e-6, BINS + 1)
    for group, colour, name in zip(groups, (RELEVANT, OTHER), ("relevant", "other"), strict=True):
        if group:
            shares = np.histogram(np.clip(group, edges[0], edges[-1]), edges)[0] / len(group)
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.5, label=f"{name} ({len(group)})")
    axes.legend(fontsize=7)


# --- the joint space -----------------------------------------------------------------------------------------


def _space(figure_of: Any, run: Run, collection: Collection, sample: int, seed: int) -> Any:
    if collection.space.fingerprint != run.model["fingerprint"]:
        raise QueryError(
            _(
                "the run was made with the model {name} ({fingerprint}), the collection with "
                "{space_name} ({space_fingerprint}): draw it with the collection of the run"
            ).format(
                name=run.model["name"],
                fingerprint=run.model["fingerprint"],
                space_name=collection.space.name,
                space_fingerprint=collection.space.fingerprint,
            )
        )
    groups = sample_vectors(run, collection, sample, seed)
    if sum(map(len, groups.values())) < 3:
        return None
    points, shares = principal_plane(np.concatenate(list(groups.values())))
    figure = figure_of(figsize=(6, 4.6), layout="constrained")
    axes = figure.subplots()
    start = 0
    for number, (name, vectors) in enumerate(groups.items()):
        group_points = points[start : start + len(vectors)]
        start += len(vectors)
        is_query = name.startswith("query")
        colour = COLOURS[number % len(COLOURS)]
        size, marker = (22, "^") if is_query else (8, "o")
        axes.scatter(
            *group_points.T,
            s=size,
            marker=marker,
            color=colour,
            alpha=0.6,
            linewidths=0,
            label=f"{name} ({len(group_points)})",
        )
        axes.scatter(*group_points.mean(axis=0), s=110, marker="X", color=colour, edgecolors="black", linewidths=0.8)
    title = "the joint space; X: means"
    if "stored text" in groups and "stored image" in groups:
        title += (
            f"; gap between stored text and images {modality_gap(groups['stored text'], groups['stored image']):.2f}"
        )
    axes.set(title=title, xlabel=f"component 1 ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"component 2 ({shares[1]:.0%})")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=7)
    return figure


def sample_vectors(run: Run, collection: Collection, sample: int, seed: int) -> Mapping[str, NDArray[np.float32]]:
    """Return vectors (n, dim) by role and modality: a sample of the stored ones, and those of the run's queries."""
    random = np.random.default_rng(seed)
    groups: dict[str, NDArray[np.float32]] = {}
    for partition in ("text", "image"):
        groups[f"stored {partition}"] = collection.store.sample(partition, sample).vectors
    query_vectors: dict[str, list[NDArray[np.float32]]] = {"text": [], "image": []}
    for index in np.sort(random.permutation(len(run.results))[:sample]):
        result = run.results[index]
        encoded = collection.space.encode_query(
            Query(result.text, None if result.image is None else _pixels(result.image))
        )
        for name, rows in query_vectors.items():
            if (vector := encoded.by_encoder.get(name)) is not None:
                rows.append(vector)
    groups |= {f"query {name}": np.array(rows, dtype=np.float32) for name, rows in query_vectors.items() if rows}
    return {name: vectors for name, vectors in groups.items() if len(vectors)}


def _pixels(path: str) -> NDArray[np.uint8]:
    from commonplace.errors import ReadError
    from commonplace.readers import load_picture

    if not os.path.isfile(path):
        raise ReadError(
            _("the picture of a query, {path}, is gone: make the run again with `commonplace eval`").format(path=path)
        )
    try:
        return load_picture(Path(path)).pixels
    except ReadError as problem:
        raise ReadError(f"{path}: {problem}") from problem


def principal_plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return coordinates (n, 2) in the plane of the two principal components, and their shares of the variance.

    The components come from a singular value decomposition of the centred rows (Pearson 1901). Their signs are fixed:
    the entry with the largest absolute value is positive.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    plane = axes[:2]
    plane = plane * np.sign(plane[np.arange(len(plane)), np.abs(plane).argmax(axis=1)])[:, None]
    variance = sizes**2
    shares = variance[:2] / max(float(variance.sum()), 1e-12)
    return centred @ plane.T, (float(shares[0]), float(shares[1]))


def modality_gap(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the modality gap: the distance between the means of two groups of unit vectors (Liang et al. 2022)."""
    return float(np.linalg.norm(first.mean(axis=0, dtype=np.float64) - second.mean(axis=0, dtype=np.float64)))
