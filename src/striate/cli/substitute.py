"""`striate substitute`: a model trained on another's answers, to be attacked in its place."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent


@reads_source
def substitute(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="What is asked: a run, a model file, or an exported .onnx or .xml.")
    ],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Images to begin with; labels are not read.")],
    queries: Annotated[int, typer.Option("--queries", min=2, help="Images the target may be asked about.")] = 3000,
    network: Annotated[str | None, typer.Option("--network", help="Of the catalogue; by the channels.")] = None,
    to: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the substitute.")] = Path(
        "substitute.safetensors"
    ),
    split: Annotated[
        str | None, typer.Option("--split", metavar="train|validation|test|all", help="Which part of SOURCE.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which images, weights and order.")] = 0,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a substitute from a model's predictions alone.

    It sees the classes that the model names, nothing else; what fools it often fools the model.

    Example: striate substitute runs/mine photos --queries 3000 && striate attack runs/mine --through
    substitute.safetensors
    """
    with importing():
        from striate.robustness.substitute_model import substitute_for
        from striate.robustness.victim import open_victim

    victim = open_victim(model, device=device, download=reading.download, log=log)
    access = reading.access()
    result = substitute_for(
        victim, source, num_queries=queries, network=network, split=split, out=to, seed=seed, access=access
    )
    if as_json:
        show_json(result.to_json())
        return
    found = result.found
    out.print(
        Text(
            f"{result.model.network_name} after {found.num_queries:,} queries says what the target says of "
            f"{percent(found.agreement, 1)} of other images"
        ),
        soft_wrap=True,
    )
    out.print(Text(f"model  {to}"), soft_wrap=True)
    suggest("striate", "attack", model, "--through", str(to), what="does what fools it fool the model?")
