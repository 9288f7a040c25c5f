"""`striate attack`: how little it takes to fool a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent, percent_range

if TYPE_CHECKING:
    from striate.robustness.outcome import AttackOutcome

METHODS = (
    "fgsm|bim|pgd|mi_fgsm|adam|apgd_ce|apgd_dlr|apgd_targeted|deepfool|carlini_wagner|fab|fab_targeted|square|boundary|"
    "one_pixel|sign_of_weights|noise|rotation"
)


@reads_source
def attack(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run, a model.safetensors, NETWORK:WEIGHTS, or an exported .onnx or .xml."
        ),
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="As for train; what the model was trained on by default.")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", metavar=METHODS, help="One attack; by default pgd.")] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="quick|standard", help="Several, each on what still stands; AutoAttack's."),
    ] = None,
    norm: Annotated[
        str | None, typer.Option("--norm", metavar="linf|l2|l1", help="How a change is measured; by default linf.")
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option("--epsilon", metavar="E", help="Largest change, pixels being 0 to 1; by default 8/255, 0.5, 12."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps, or queries of a black box.")] = None,
    step_size: Annotated[str | None, typer.Option("--step-size", metavar="E", help="Size of a step.")] = None,
    restarts: Annotated[int | None, typer.Option("--restarts", min=1, help="Random starts.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="CLASS|least_likely|random", help="Towards one class.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="train|validation|test|all", help="Which part; test where there is one."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many images, drawn by the seed.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which images and random numbers.")] = 0,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Images computed at once.")] = None,
    through: Annotated[
        list[str] | None,
        typer.Option("--through", metavar="OTHER", help="Make the images on this model; again for a fused ensemble."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="A page with the curve, images and what became what.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Adversarial images as PNG and a CSV, evaluated again in 8 bits."),
    ] = None,
    checks: Annotated[
        bool, typer.Option("--checks/--no-checks", help="Look for signs of masked gradients on a few images.")
    ] = True,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Attack a model and measure its robust accuracy.

    Clean accuracy, and robust accuracy under one attack or a suite.

    Example: striate attack runs/mine --suite standard --epsilon 8/255 --limit 500
    """
    with importing():
        from striate.robustness.ask import request_of
        from striate.robustness.attack_model import attack as attack_source
        from striate.robustness.victim import open_victim

    request = request_of(
        method=method, suite=suite, norm=norm, epsilon=epsilon, steps=steps, step_size=step_size, restarts=restarts,
        target=target, seed=seed,
    )  # fmt: skip
    loaded = open_victim(model, device=device, download=reading.download, log=log)
    access = reading.access()
    outcome = attack_source(
        loaded, source, request, split=split, limit=limit, batch_size=batch_size, access=access,
        with_checks=checks, with_curve=html is not None, save_to=save,
        through=through or (),
    )  # fmt: skip
    if html is not None:
        from striate.reports.attack_page import write_attack_page

        log(f"page written to {write_attack_page(outcome, html, model=model)}")
    if as_json:
        show_json(outcome.to_json())
        return
    _show(outcome)
    words = ["striate", "attack", model, *([source] if source else [])]
    if html is None:
        suggest(*words, "--html", "attack.html", what="the same with images, and a curve over sizes of change")
    else:
        suggest("striate", "train", outcome.source, "--adversarial", "pgd", what="a model that is harder to fool")


def _show(outcome: "AttackOutcome") -> None:
    figures = outcome.to_json()
    out.print(
        Text.assemble(
            (outcome.split, "bold"),
            f" part of {outcome.source}, {len(outcome):,} images; changes of at most {outcome.epsilon:.4g} by "
            f"{outcome.norm}",
        ),
        soft_wrap=True,
    )
    table = Table(box=None, show_header=False)
    for name in ("clean", "robust"):
        low, high = figures[f"{name}_interval"]
        table.add_row(
            f"{name} accuracy",
            f"{percent(figures[f'{name}_accuracy'])}  (95 % interval {percent_range(low, high)})",
        )
    out.print(table)
    out.print(_attack_table(figures["attacks"]))
    if "saved_to" in figures:
        rounded = percent(figures["robust_accuracy_8bit"])
        out.print(Text(f"saved {figures['saved_to']}: rounded to 8 bits these images leave {rounded}"), soft_wrap=True)
    for warning in outcome.warnings:
        out.print(Text("worth a doubt: ", style="yellow") + Text(warning), soft_wrap=True)


def _attack_table(attacks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    headings = ("attack", "attacked", "accuracy left", "mean change", "largest", "steps", "queries", "images/s")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "attack" else "right")
    for row in attacks:
        table.add_row(
            row["method"],
            f"{row['num_attacked']:,}",
            percent(row["robust_accuracy"]),
            f"{row['mean_change']:.4g}",
            f"{row['max_change']:.4g}",
            f"{row['num_steps']:,}" + (f" x {row['num_restarts']}" if row["num_restarts"] > 1 else ""),
            f"{row['num_queries']:,}",
            f"{row['num_attacked'] / max(row['seconds'], 1e-9):,.1f}",
        )
    return table
