"""The report's charts as SVG text whose colours are left to the page, so that they follow light, dark and print."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from striate.reports.drawing import Axes, Figure, FigureCanvasSVG, MaxNLocator, PercentFormatter, drawing_settings
from striate.tasks.intervals import wilson_interval

# Stand-ins: each is replaced by a CSS variable of the page after drawing.
INK, FAINT, TRAIN, VALIDATION, BEST = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {
    INK: "var(--muted)",
    FAINT: "var(--line)",
    TRAIN: "var(--train)",
    VALIDATION: "var(--accent)",
    BEST: "var(--good)",
}
_SIZE_INCHES = (3.5, 2.5)
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be searched
    "svg.hashsalt": "striate",  # the same figures give the same bytes
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "grid.color": FAINT,
}


def loss_curves(epochs: Sequence[dict[str, Any]], best_epoch: int | None) -> str:
    """Training and validation loss by epoch, from zero."""
    return _curves(epochs, best_epoch, ("train_loss", "validation_loss"), is_share=False)


def accuracy_curves(
    epochs: Sequence[dict[str, Any]],
    best_epoch: int | None,
    score_name: str = "accuracy",
    train_score_name: str | None = None,
) -> str:
    """Training and validation accuracy, or another score in [0, 1] by its name, by epoch, in percent."""
    return _curves(
        epochs, best_epoch, (f"train_{train_score_name or score_name}", f"validation_{score_name}"), is_share=True
    )


def rate_curve(epochs: Sequence[dict[str, Any]]) -> str:
    """The learning rate by epoch."""
    with drawing_settings(_SETTINGS):
        figure, axes = _figure(len(epochs))
        _line(axes, epochs, "learning_rate", VALIDATION, "")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda rate, _: _short_rate(rate))
        return _svg(figure, "rate")


def _short_rate(rate: float) -> str:
    """At most five characters, which is what the margin holds: 0.045, 7.5e-4."""
    if rate == 0 or rate >= 0.001:
        return f"{rate:.3g}"
    digits, exponent = f"{rate:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def reliability_chart(bins: Sequence[dict[str, Any]]) -> str:
    """Reliability diagram: accuracy against confidence, with 95 % intervals; dots grow with the number of images."""
    most = max((each["count"] for each in bins), default=1)
    with drawing_settings(_SETTINGS):
        figure = Figure(figsize=(3.5, 3.3))
        figure.subplots_adjust(left=0.17, right=0.985, bottom=0.15, top=0.985)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 4)))
        for each in bins:
            low, high = wilson_interval(round(each["accuracy"] * each["count"]), each["count"])
            axes.plot([each["confidence"]] * 2, [low, high], color=FAINT, linewidth=2.5, solid_capstyle="round")
        axes.scatter(
            [each["confidence"] for each in bins],
            [each["accuracy"] for each in bins],
            s=[14 + 110 * each["count"] / most for each in bins],
            color=VALIDATION,
            zorder=3,
            clip_on=False,
        )
        axes.set(xlim=(0, 1.04), ylim=(0, 1.04), aspect="equal")
        axes.set(xlabel="how sure it was", ylabel="how often it was right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
            axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
        axes.tick_params(length=0)
        return _svg(figure, "reliability")


def risk_coverage_chart(curve: Sequence[Sequence[float]]) -> str:
    """Error rate among the images answered against the fraction answered, the most certain first: points (coverage,
    risk, confidence).
    """
    with drawing_settings(_SETTINGS):
        figure = Figure(figsize=(3.5, 2.7))
        figure.subplots_adjust(left=0.22, right=0.93, bottom=0.18, top=0.95)
        axes = figure.add_subplot()
        coverages, risks = [point[0] for point in curve], [point[1] for point in curve]
        axes.plot(
            coverages, risks, color=VALIDATION, linewidth=1.8, marker="o" if len(curve) < 3 else None, markersize=4
        )
        axes.set(xlim=(0, 1), ylim=(0, max(0.01, 1.1 * max(risks))), xlabel="images answered", ylabel="of them wrong")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if max(risks) > 0.04 else 1))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        return _svg(figure, "risk")


def corruption_curves(by_group: dict[str, Sequence[float]]) -> str:
    """Mean accuracy of each group of corruptions at severities 0 to 5; the groups are named at the ends of their
    lines.
    """
    styles = (VALIDATION, BEST, INK, TRAIN, VALIDATION)
    with drawing_settings(_SETTINGS):
        figure = Figure(figsize=(4.2, 2.9))
        figure.subplots_adjust(left=0.15, right=0.77, bottom=0.16, top=0.96)
        axes = figure.add_subplot()
        lowest = 0.0
        for (name, values), color, dashes in zip(
            sorted(by_group.items(), key=lambda item: item[1][-1]),
            styles,
            ((), (), (), (), (4, 3)),
            strict=False,
        ):
            axes.plot(range(len(values)), values, color=color, linewidth=1.8, dashes=dashes or (None, None))
            lowest = max(lowest, values[-1])
            axes.text(len(values) - 0.9, lowest, name, color=color, va="center", fontsize=8.5)
            lowest += 0.07  # names do not lie on each other
        axes.set(xlim=(0, 5), ylim=(0, 1.03), xlabel="severity", ylabel="accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        return _svg(figure, "corruptions")


def robustness_curve(points: Sequence[tuple[float, float]], epsilon: float) -> str:
    """Accuracy against the size of the change allowed, equally spaced steps from nothing to the largest; `epsilon` is
    marked.
    """
    with drawing_settings(_SETTINGS):
        figure = Figure(figsize=(4.6, 2.7))
        figure.subplots_adjust(left=0.16, right=0.985, bottom=0.18, top=0.95)
        axes = figure.add_subplot()
        places = range(len(points))
        axes.plot(
            places, [accuracy for _, accuracy in points], color=VALIDATION, linewidth=1.8, marker="o", markersize=4
        )
        axes.set_xticks(list(places), [f"{size:.3g}" for size, _ in points])
        axes.set(ylim=(0, 1.03), xlabel="largest change allowed", ylabel="accuracy")
        for place, (size, _) in enumerate(points):
            if math.isclose(size, epsilon):
                axes.axvline(place, color=BEST, linewidth=1, linestyle=(0, (4, 4)))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        return _svg(figure, "robustness")


def _curves(epochs: Sequence[dict[str, Any]], best_epoch: int | None, keys: tuple[str, str], *, is_share: bool) -> str:
    with drawing_settings(_SETTINGS):
        figure, axes = _figure(len(epochs))
        _line(axes, epochs, keys[0], TRAIN, "training")
        _line(axes, epochs, keys[1], VALIDATION, "validation")
        best = [each for each in epochs if each["epoch"] == best_epoch and each.get(keys[1]) is not None]
        if best:
            label = f"kept: epoch {best_epoch}"
            axes.plot(best[0]["epoch"], best[0][keys[1]], "o", color=BEST, markersize=7, label=label, clip_on=False)
        if is_share:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.set_ylim(top=min(1.005, axes.get_ylim()[1]))
        else:
            axes.set_ylim(bottom=0)
        if axes.has_data():
            axes.legend(frameon=False, handlelength=1.2, loc="lower right" if is_share else "upper right")
        return _svg(figure, keys[1])


def _figure(num_epochs: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES)
    figure.subplots_adjust(left=0.15, right=0.985, bottom=0.18, top=0.965)  # alike, so that charts side by side line up
    axes = figure.add_subplot()
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, max(2, num_epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(length=0)
    return figure, axes


def _line(axes: Axes, epochs: Sequence[dict[str, Any]], key: str, color: str, label: str) -> None:
    """One curve; epochs where the figure is missing leave no point."""
    points = [(each["epoch"], each[key]) for each in epochs if each.get(key) is not None]
    if points:
        marker = "o" if len(points) < 3 else None  # a line of one point cannot be seen
        axes.plot(*zip(*points, strict=True), color=color, linewidth=1.8, label=label, marker=marker, markersize=4)


def _svg(figure: Figure, name: str) -> str:
    """The drawn figure as an <svg> element that scales with the page; `name` keeps its ids apart from others'."""
    file = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)  # two charts on a page must not share ids
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    return text.replace("<svg ", '<svg role="img" ', 1)
