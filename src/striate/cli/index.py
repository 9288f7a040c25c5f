"""`striate index`: features of a source's images in one file to search."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent

if TYPE_CHECKING:
    from striate.retrieval.figures import RetrievalFigures
    from striate.retrieval.index_file import ImageIndex


@reads_source
def index(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="As for train, or a folder without classes.")],
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS."),
    ],
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the index goes.")],
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Whose output; by default what the last weighted layer is given."),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", metavar="cosine|l2", help="How alike two images are.")] = "cosine",
    cells: Annotated[
        int | None,
        typer.Option("--cells", min=0, help="Search approximately, in so many cells; from a million images on always."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    device: Device = "auto",
    reading: SourceOptions = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Index images by what a network makes of them.

    Each image is read once; made again, an index computes only images that it does not know. Where images have classes
    it says how often the nearest other one is of the same.

    Example: striate index photos/ --model runs/mine --out photos.index
    """
    with importing():
        from striate.retrieval.figures import retrieval_figures
        from striate.retrieval.indexing import index_images
        from striate.tasks.model import load_model

    made = index_images(
        source,
        model,
        out_file,
        layer=layer,
        metric=metric,
        num_cells=cells,
        batch_size=batch_size,
        device=device,
        access=reading.access(),
    )
    figures = None
    if has_pairs(made):
        figures = retrieval_figures(made, model=load_model(model, download=reading.download))
    if as_json:
        show_json({**document_of(made, out_file), "figures": None if figures is None else figures.to_json()})
        return
    size = out_file.stat().st_size / 1e6
    width = made.features.shape[1]
    out.print(
        Text(f"{out_file}: {len(made):,} images, {width:,} features of {made.place}, {size:.1f} MB"), soft_wrap=True
    )
    if figures is not None:
        show_figures(figures)
    suggest("striate", "search", str(out_file), "IMAGE", "--html", "found.html")


def has_pairs(index: "ImageIndex") -> bool:
    """Whether any two images have one class, and there are two classes to confuse."""
    known = index.labels[index.labels >= 0].tolist()
    return 1 < len(set(known)) < len(known)


def document_of(index: "ImageIndex", path: Path) -> dict[str, Any]:
    """What machines are told of an index."""
    return {
        "index": str(path),
        "size_bytes": path.stat().st_size,
        "source": index.source,
        "model": index.model,
        "network": index.network,
        "layer": index.place,
        "metric": index.metric,
        "num_images": len(index),
        "num_features": index.features.shape[1],
        "num_cells": 0 if index.centers is None else len(index.centers),
        "class_names": list(index.class_names),
    }


def show_figures(figures: "RetrievalFigures") -> None:
    """Recall and mean average precision, each image searched for among all others."""
    for k, each in figures.recall_at.items():
        out.print(Text(f"recall at {k:<10}{each.words()}"), soft_wrap=True)
    out.print(Text(f"mean AP             {figures.mean_average_precision.words()}"), soft_wrap=True)
    said = f"{figures.num_queries:,} images each searched for among all others, by class; "
    out.print(Text(f"{said}one drawn at random is of its class in {percent(figures.chance, 1)}", style="dim"))
    if figures.num_trained_on:
        told = f"{figures.num_trained_on:,} of {figures.num_told:,} of these are"
        log(f"{told} among the images that the model was trained on: these figures flatter")
    if figures.cells_recall is not None:
        found = percent(figures.cells_recall, 1)
        out.print(Text(f"a search of cells finds {found} of the ten truly nearest", style="dim"), soft_wrap=True)
