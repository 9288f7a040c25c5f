"""`striate look`: filters, activations and units of a network, and how images lie in its features."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest, track
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.explanation.look import Looked
    from striate.explanation.pictures_of_source import Pictures
    from striate.tasks.model import Model


@reads_source
def look(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    seen: Annotated[
        str | None,
        typer.Argument(metavar="[IMAGE|SOURCE]", help="An image, or a data set: a folder, a name, a CSV, ..."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="NAME", help="Which layer; by default the first convolution or last spatial features."
        ),
    ] = None,
    units: Annotated[
        list[int] | None, typer.Option("--unit", metavar="N", min=0, help="Patches of this channel; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Patches a unit, neighbours an image.")] = 9,
    near: Annotated[
        list[Path] | None,
        typer.Option("--near", metavar="IMAGE", help="Images of SOURCE nearest to this one; may be repeated."),
    ] = None,
    as_map: Annotated[
        bool, typer.Option("--map", help="PCA and t-SNE of SOURCE with thumbnails, as one page to zoom.")
    ] = False,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where pictures go.")] = Path("looked"),
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    device: Device = "auto",
    reading: SourceOptions = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Look inside a network: filters, activations, units.

    Alone: its filters. With an image: what a layer gives for it. With a data set: how much every unit is used, dead
    units, and the patches that excite units most; with --near the nearest neighbours in features and in pixels, with
    --map a map of the whole set.

    Example: striate look runs/flowers photos --layer features.4 --unit 7
    """
    with importing():
        from striate.explanation.look_files import write_filters
        from striate.tasks.model import load_model

    if units and (near or as_map):
        raise InputError("--unit shows patches, --near and --map the whole set: give one kind, then the other")
    loaded = load_model(model, device=device, download=reading.download, log=log)
    document: dict[str, Any]
    if seen is None:
        if near or as_map or units:
            raise InputError("--near, --map and --unit look at a data set; name it after the model")
        name, path = write_filters(out_dir, loaded, layer)
        document = {"filters": {"layer": name, "picture": str(path)}}
    elif _is_image(seen):
        document = _look_at_image(loaded, seen, layer, out_dir)
    else:
        from striate.explanation.pictures_of_source import open_pictures

        pictures = open_pictures(seen, reading.access())
        if near or as_map:
            document = _look_at_features(loaded, seen, pictures, layer, near or [], as_map, top, batch_size, out_dir)
        else:
            document = _look_at_units(loaded, pictures, layer, units or [], top, batch_size, out_dir, as_json)
    if as_json:
        show_json(document)
    else:
        _show_files(document)
        if seen is None:
            suggest("striate", "look", model, "PHOTOS", "--map", what="a whole set as the model sees it")
        elif _is_image(seen):
            suggest("striate", "explain", model, seen, what="what spoke for its answer")
        else:
            suggest("striate", "visualize", model, "--layer", document.get("layer") or document["patches"]["layer"])


def _is_image(seen: str) -> bool:
    """Whether an argument is a file that is no data set of its own (a CSV, an npz, ...)."""
    return os.path.isfile(seen) and Path(seen).suffix.lower() not in (".csv", ".npz", ".tsv", ".json")


def _look_at_image(model: "Model", image: str, layer: str | None, out_dir: Path) -> dict[str, Any]:
    from striate.explanation.activations import activation_maps
    from striate.explanation.layers import default_layer
    from striate.explanation.look import blank_images
    from striate.explanation.look_files import write_activations, write_filters
    from striate.explanation.measure import as_inputs
    from striate.tasks.predictions import PredictionError, read_pixels

    found = read_pixels(image, image, model.preprocessing)
    if isinstance(found, PredictionError):
        raise InputError(f"{image} {found.reason}")
    layer = layer or default_layer(model.network, blank_images(model))
    maps = activation_maps(model.network, as_inputs(model, [found[1]]), layer)[0].float().cpu().numpy()
    array, picture = write_activations(out_dir, 0, image, layer, maps)
    name, filters = write_filters(out_dir, model, None)
    return {
        "activations": {
            "path": image,
            "layer": layer,
            "shape": list(maps.shape),
            "array": str(array),
            "picture": str(picture),
        },
        "filters": {"layer": name, "picture": str(filters)},
    }


def _look_at_units(
    model: "Model",
    pictures: "Pictures",
    layer: str | None,
    units: list[int],
    top: int,
    batch_size: int,
    out_dir: Path,
    as_json: bool,
) -> dict[str, Any]:
    from striate.explanation.look import look_at_units
    from striate.explanation.look_files import write_patches

    seen = look_at_units(
        model, pictures, layer=layer, units=units, top=top, batch_size=batch_size, log=log, track=track
    )
    path = write_patches(out_dir, seen.layer, seen.patches)
    if not as_json:
        _show_units(seen)
    return {
        "units": [each.to_json() for each in seen.statistics],
        "patches": {
            "layer": seen.layer,
            "picture": str(path),
            "units": [
                {"unit": each.unit, "values": list(each.values), "names": list(each.names)} for each in seen.patches
            ],
        },
    }


def _look_at_features(
    model: "Model",
    source: str,
    pictures: "Pictures",
    layer: str | None,
    near: list[Path],
    as_map: bool,
    top: int,
    batch_size: int,
    out_dir: Path,
) -> dict[str, Any]:
    from striate.explanation.layers import default_layer
    from striate.explanation.look import blank_images, features_of, image_features
    from striate.explanation.look_files import write_neighbors
    from striate.explanation.measure import as_inputs
    from striate.explanation.neighbors import pixel_features
    from striate.tasks.predictions import PredictionError, read_pixels

    layer = layer or default_layer(model.network, blank_images(model))
    queries = []
    for image in near:
        found = read_pixels(str(image), image, model.preprocessing)
        if isinstance(found, PredictionError):
            raise InputError(f"{image} {found.reason}")
        queries.append(found)
    seen = image_features(model, pictures, layer=layer, batch_size=batch_size, log=log, track=track)
    document: dict[str, Any] = {"layer": layer, "num_images": len(seen.indices), "neighbors": []}
    for number, (name, pixels) in enumerate(queries):
        own = features_of(model.network, as_inputs(model, [pixels]), layer)[0]
        query = (own, pixel_features(pixels))
        picture, listed = write_neighbors(out_dir, number, (name, pixels), *query, seen, pictures.names, top)
        document["neighbors"].append({"path": name, "picture": str(picture), "nearest": listed})
    if as_map:
        from striate.explanation.projection import project
        from striate.reports.feature_map_page import write_feature_map

        log("laying out the map: principal components, then t-SNE")
        places = project(seen.features)
        names = [pictures.names[index] for index in seen.indices]
        labels = pictures.labels[seen.indices]
        order = ("tsne", "pca")
        page = write_feature_map(
            out_dir / "map.html",
            f"{Path(source).name} as {model.network_name} sees it, {layer}",
            {kind: places[kind] for kind in order},
            seen.thumbnails,
            names,
            labels,
            pictures.class_names,
        )
        document["map"] = str(page)
    return document


def _show_units(seen: "Looked") -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("rectified layer", "units", "dead", "active in images", "mean", "largest"):
        table.add_column(heading, justify="left" if heading == "rectified layer" else "right")
    for each in seen.statistics:
        share = percent(each.active_fraction.mean(), 0)
        figures = (str(len(each.mean)), str(len(each.dead)), share, f"{each.mean.mean():.3g}", f"{each.max.max():.3g}")
        table.add_row(Text(each.layer), *figures)
    out.print(table)
    if seen.statistics:
        out.print(f"{seen.statistics[0].num_images} images; dead: above 0 in none of them", style="dim")


def _show_files(document: dict[str, Any]) -> None:
    for key in ("filters", "activations", "patches"):
        if key in document:
            out.print(Text(f"{key:<12} {document[key]['layer']}  {document[key]['picture']}"), soft_wrap=True)
    for each in document.get("neighbors", []):
        out.print(Text(f"neighbours   {each['picture']}"), soft_wrap=True)
    if "map" in document:
        out.print(Text(f"map          {document['map']}"), soft_wrap=True)
