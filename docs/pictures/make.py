"""Make the README's pictures anew: a terminal (through tmux), the report of its run and a network (through Chromium).

Run from the repository's root, in the environment that `make` made: .venv/bin/python docs/pictures/make.py
Needs the programs tmux and chromium.
"""

import io
import re
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMANDS = (
    "striate train digits --epochs 10 --run runs/digits",
    "striate predict runs/digits runs/digits/mistakes --top 2",
)
WIDTH, HEIGHT = 104, 40
PAGE_WIDTH, PAGE_HEIGHT = 1000, 1500
NETWORK, NETWORK_PAGE_SIZE = "resnet18", (1500, 900)


def main() -> None:
    """Write terminal.svg, report-top.png, report-middle.png and network.png beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        screen = record_terminal(Path(folder))
        draw_terminal(screen, HERE / "terminal.svg")
        page = shoot_page(Path(folder) / "runs" / "digits" / "report.html", Path(folder))
        for number, name in enumerate(("report-top.png", "report-middle.png")):
            part = page.crop((0, number * PAGE_HEIGHT // 2, PAGE_WIDTH, (number + 1) * PAGE_HEIGHT // 2))
            part.quantize(64).save(HERE / name, optimize=True)
        draw_network(Path(folder))


def record_terminal(folder: Path) -> str:
    """What the screen of a real terminal shows after the commands, with its colours."""
    tmux = ("tmux", "-L", "striate-pictures")
    path = Path(".venv/bin").absolute()
    shell = f"env PATH={path}:/usr/bin:/bin STRIATE_CACHE={folder}/cache PS1='$ ' bash --norc --noprofile"
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "-c", str(folder), shell], check=True
    )
    time.sleep(1)  # until the shell stands ready
    try:
        for number, command in enumerate(COMMANDS):
            subprocess.run([*tmux, "send-keys", f"{command}; touch done-{number}", "Enter"], check=True)
            while not (folder / f"done-{number}").exists():
                time.sleep(0.2)
        time.sleep(1)
        captured = subprocess.run(
            [*tmux, "capture-pane", "-e", "-p", "-S", "-200"], check=True, capture_output=True, text=True
        )
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    lines = captured.stdout.rstrip().splitlines()
    return "\n".join(line.split("; touch done-")[0] for line in lines if line.strip() != "$")


def draw_terminal(screen: str, path: Path) -> None:
    """The screen as an SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(screen))
    drawn = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title="striate"), flags=re.DOTALL
    )  # no fonts from elsewhere
    path.write_text(drawn, encoding="utf-8")


def draw_network(folder: Path) -> None:
    """The page that describes a network."""
    page = folder / "network.html"
    subprocess.run([".venv/bin/striate", "describe", NETWORK, "--html", str(page)], check=True)
    shoot_page(page, folder, NETWORK_PAGE_SIZE).quantize(128).save(HERE / "network.png", optimize=True)


def shoot_page(page: Path, folder: Path, page_size: tuple[int, int] = (PAGE_WIDTH, PAGE_HEIGHT)) -> Image.Image:
    """The top of a page as Chromium shows it, (width, height) in pixels."""
    picture = folder / "page.png"
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")
    size = f"--window-size={page_size[0]},{page_size[1]}"
    user_dir = f"--user-data-dir={folder}/browser"
    command = ["chromium", *options, size, user_dir, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    return Image.open(picture).convert("RGB")


if __name__ == "__main__":
    main()
