"""Make the pictures of docs/gallery.md with the commands printed there, and write that page: `make gallery`.

The shared folder of data is taken from $STRIATE_SHARED, or lies beside the project. Pictures are shrunk to JPEG files
of under 60 kB. Names on the command line make only those pictures anew; `starry.safetensors`, which takes half an hour
of training, is kept in the cache.
"""

import io
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from striate.data.cache import cache_dir

DOCS = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("STRIATE_SHARED", DOCS.parents[1] / "shared" / "data"))
MODEL = f"squeezenet1_0:{SHARED / 'squeezenet-v1.0-deep-compressed' / 'compressed_SqueezeNet.net'}"
PAINTINGS = SHARED / "style" / "paintings"
LARGEST_BYTES = 60_000


@dataclass(frozen=True)
class Picture:
    """A picture of the gallery: its title, what one sees, and the command, with words in braces filled in."""

    name: str
    title: str
    words: str
    command: str
    shown: str = "{name}.png"


PICTURES = (
    Picture(
        "classes",
        "What a class looks like",
        "A flamingo, a goldfish, a castle and a pizza as SqueezeNet has them: pictures climbed from noise. Each is "
        "answered as its class with more than 99 %.",
        "striate visualize {model} --class flamingo --class goldfish --class castle --class pizza "
        "--steps 64 --learning-rate 0.03 --out classes.png",
    ),
    Picture(
        "units",
        "What units look for",
        "A channel of each of four layers, from early to late: fine patterns first, then shapes.",
        "striate visualize {model} --unit features.3:9 --unit features.5:40 --unit features.9:33 --unit "
        "features.12:101 --size 160 --steps 64 --learning-rate 0.03 --out units.png",
    ),
    Picture(
        "dream",
        "A dream of The Starry Night",
        "The painting changed so that one layer responds more, in five sizes from coarse to fine.",
        "striate dream {paintings}/starry_night.jpg --layer features.12 --model {model} --size 480 --strength 0.008 "
        "--out dream.png",
    ),
    Picture(
        "fool",
        "Noise that is a goldfish",
        "Uniform noise, the change magnified, and noise again, now answered as a goldfish.",
        "striate fool --class goldfish --model {model} --confidence 0.99 --out fool.png",
        "{name}-sheet.png",
    ),
    Picture(
        "invert",
        "What layers still know of The Scream",
        "The painting, and pictures found from noise that three layers cannot tell from it, from early to late.",
        "striate invert {paintings}/the_scream.jpg --layer features.3 --layer features.7 --layer features.12 --model "
        "{model} --steps 100 --out invert.png",
    ),
    Picture(
        "texture",
        "A tile of van Gogh",
        "A texture with the statistics of the painting, which can be laid beside itself.",
        "striate texture {paintings}/starry_night.jpg --sample-size 400 --size 224 --steps 120 --model {model} --out "
        "texture.png",
    ),
    Picture(
        "patches",
        "The same, pixel by pixel",
        "Every pixel is one of the painting, chosen by its neighbourhood (tree-structured vector quantisation).",
        "striate texture {paintings}/starry_night.jpg --sample-size 300 --size 256 --method patches --out patches.png",
    ),
    Picture(
        "style",
        "The Shipwreck, had van Gogh painted it",
        "Turner's painting in the style of The Starry Night.",
        "striate style {paintings}/shipwreck.jpg {paintings}/starry_night.jpg --model {model} --size 384 --steps 100 "
        "--out style.png",
    ),
    Picture(
        "mixed",
        "Two styles at once, in the old colours",
        "The same in the mean style of The Scream and Composition VII, with Turner's colours.",
        "striate style {paintings}/shipwreck.jpg {paintings}/the_scream.jpg {paintings}/composition_vii.jpg --model "
        "{model} --size 320 --steps 100 --keep-colours --out mixed.png",
    ),
    Picture(
        "fast",
        "In one pass",
        "A network trained once paints any picture in a second or two. Trained by: striate style --train "
        "{paintings}/starry_night.jpg {shared}/imagenet-samples --model {model} --steps 900 --crop 144 --batch-size 3 "
        "--style-weight 5 --total-variation 0.05",
        "striate style {paintings}/shipwreck.jpg starry_night.safetensors --size 512 --out fast.png",
    ),
)


def main() -> None:
    """Make the pictures that are named, or all, and write the page."""
    wanted = set(sys.argv[1:]) or {picture.name for picture in PICTURES}
    for picture in PICTURES:
        if picture.name in wanted:
            make(picture)
    write_page()


def make(picture: Picture) -> None:
    """Run the command in a folder of its own and keep the result, shrunk."""
    with tempfile.TemporaryDirectory() as folder:
        if picture.name == "fast":
            (Path(folder) / "starry_night.safetensors").symlink_to(trained_style())
        run(filled(picture.command), folder)
        shrink(Path(folder) / picture.shown.format(name=picture.name), shown_at(picture))
    print(picture.name, shown_at(picture).stat().st_size, "bytes", flush=True)


def run(command: str, folder: str | Path) -> None:
    """`striate ...` with this Python."""
    words = shlex.split(command)
    subprocess.run([sys.executable, "-m", *words], cwd=folder, check=True)


def trained_style() -> Path:
    """The style network of the gallery, trained where the cache has none."""
    path = cache_dir() / "gallery" / "starry_night.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        (words,) = (each.words for each in PICTURES if each.name == "fast")
        run(filled(words.partition("Trained by: ")[2]), path.parent)
    return path


def filled(text: str) -> str:
    """The command with the places of this machine."""
    return text.format(model=shlex.quote(MODEL), paintings=PAINTINGS, shared=SHARED)


def printed(text: str) -> str:
    """The command as a reader would give it."""
    return text.format(model="squeezenet1_0:compressed_SqueezeNet.net", paintings="paintings", shared="..")


def shown_at(picture: Picture) -> Path:
    """The file in the documentation."""
    return DOCS / "pictures" / "gallery" / f"{picture.name}.jpg"


def shrink(source: Path, to: Path) -> None:
    """A JPEG of at most 800 pixels a side and 60 kB."""
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    image.thumbnail((800, 800), Image.Resampling.LANCZOS)
    for quality in range(90, 20, -5):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() < LARGEST_BYTES:
            break
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(file.getvalue())


def write_page() -> None:
    """docs/gallery.md: each picture with its command."""
    lines = [
        "# Gallery",
        "",
        "Every picture here was made by the command under it, on two CPU cores, with the deep-compressed SqueezeNet "
        "1.0 (0.7 MB, 1000 classes of ImageNet); `make gallery` makes them all anew. Nothing but noise, the network "
        "and paintings in the public domain went in; only the network that paints in one pass learnt from photos.",
        "",
    ]
    for picture in PICTURES:
        if not shown_at(picture).is_file():
            continue
        lines += [f"## {picture.title}", "", f"![{picture.title}](pictures/gallery/{picture.name}.jpg)", ""]
        words, _, training = picture.words.partition(" Trained by: ")
        lines += [
            printed(words),
            "",
            "```sh",
            *([printed(training)] if training else []),
            printed(picture.command),
            "```",
            "",
        ]
    (DOCS / "gallery.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
