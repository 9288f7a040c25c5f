"""Training of a style network on a folder of photos (Johnson, Alahi & Fei-Fei 2016, arXiv:1603.08155), resumable."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.cache import writing_atomically
from striate.data.decoding import image_suffixes
from striate.errors import InputError, ModelFileError
from striate.networks.restore import keeping_randomness
from striate.progress import Log, Track, log_nothing, track_silently
from striate.synthesis.gram import fast_gram_dtype, gram_matrix
from striate.synthesis.models import Layers, device_of, frozen_float32, step_gradient
from striate.synthesis.pictures import read_picture, to_images, to_pixels
from striate.synthesis.regularizers import total_variation
from striate.synthesis.style_layers import StyleLayers, choose_layers
from striate.synthesis.style_network import StyleNetwork, StyleNetworkConfig
from striate.synthesis.watching import UNWATCHED, Watch

_MOST_PHOTOS = 20_000


@dataclass(frozen=True)
class TrainStyleConfig:
    """`crop_px` squares are cut out of photos whose short side is that, mirrored at random."""

    network: StyleNetworkConfig = field(default_factory=StyleNetworkConfig)
    style_weight: float = 10.0
    total_variation: float = 0.05
    num_steps: int = 1500
    batch_size: int = 4
    crop_px: int = 192
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_steps, self.batch_size) < 1 or self.crop_px < 32 or not 0 < self.learning_rate < float("inf"):
            raise InputError(
                "training a style needs steps and a batch of at least 1, crops of at least 32 pixels and a learning "
                "rate above 0"
            )
        if not 0 <= self.style_weight < float("inf") or not 0 <= self.total_variation < float("inf"):
            raise InputError("the weights of style and total variation must be at least 0")


@dataclass(frozen=True, eq=False)
class TrainedStyle:
    """The network, the loss of each step of this call, and whether it was stopped before the last step."""

    network: StyleNetwork
    losses: tuple[float, ...]
    was_stopped: bool = False


def train_style(
    model: nn.Module,
    style: np.ndarray,
    photos: Tensor,
    config: TrainStyleConfig | None = None,
    *,
    layers: StyleLayers | None = None,
    checkpoint: Path | None = None,
    watch: Watch = UNWATCHED,
    log: Log = log_nothing,
) -> TrainedStyle:
    """Train a network to paint photos (N, 3, S, S) uint8 in the style of a picture (H, W, 3) uint8, as `model` sees
    both.

    The loss is that of `transfer_style`: relative errors of content outputs and of Gram matrices. With a `checkpoint`
    path the state is kept there every minute and on stopping, and training goes on from it as if it had never stopped.

    `style` is one picture, `photos` a few hundred or more; `layers` as for `transfer_style`.
    """
    config = config or TrainStyleConfig()
    device = device_of(model)
    layers = layers or choose_layers(model, (config.crop_px, config.crop_px))
    state = _State(config, device)
    if checkpoint is not None and checkpoint.is_file():
        state.load(checkpoint)
        log(f"resuming after {state.step} of {config.num_steps} steps")
    losses: list[float] = []
    was_stopped = False
    kept_at = time.monotonic()
    with frozen_float32(model):
        loss_of = _Loss(model, to_images(style, device), layers, config)
        while state.step < config.num_steps:
            batch = _draw(photos, config, state.step).to(device).float() / 255
            painted = state.network(batch)
            loss = loss_of(painted, batch)
            losses.append(state.update(loss))
            watch.on_step(state.step, config.num_steps, losses[-1], lambda b=batch: _example(state.network, b))  # type: ignore[misc]
            was_stopped = watch.should_stop() and state.step < config.num_steps
            if checkpoint is not None and (was_stopped or time.monotonic() - kept_at > 60):
                state.save(checkpoint)
                kept_at = time.monotonic()
            if was_stopped:
                break
    return TrainedStyle(state.network.eval(), tuple(losses), was_stopped)


def read_photos(folder: str | Path, crop_px: int, *, log: Log = log_nothing, track: Track = track_silently) -> Tensor:
    """Every photo below a folder, its short side brought to `crop_px` and the centre cut out: (N, 3, crop_px, crop_px)
    uint8.

    At most 20,000, in the order of their names. Unreadable ones are named and passed over; InputError where none is
    left.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is not a folder; name a folder of photos to train a style on")
    paths = sorted(
        path for path in Path(folder).rglob("*") if path.suffix.lower() in image_suffixes() and path.is_file()
    )
    if len(paths) > _MOST_PHOTOS:
        log(f"{folder} has {len(paths):,} photos; the first {_MOST_PHOTOS:,} are used")
        paths = paths[:_MOST_PHOTOS]
    photos = []
    for path in track(paths, "reading photos", len(paths)):
        try:
            pixels = read_picture(path, size=crop_px)
        except InputError as error:
            log(f"passed over: {error}")
            continue
        top, left = ((side - crop_px) // 2 for side in pixels.shape[:2])
        photos.append(torch.from_numpy(pixels[top : top + crop_px, left : left + crop_px].copy()).permute(2, 0, 1))
    if not photos:
        raise InputError(f"{folder} holds no photo that can be read; name a folder of photos to train a style on")
    return torch.stack(photos)


class _State:
    """Network, optimiser and number of steps taken: all that training is."""

    def __init__(self, config: TrainStyleConfig, device: torch.device) -> None:
        self.config = config
        with keeping_randomness(nn.Identity()):
            torch.manual_seed(config.seed)
            self.network = StyleNetwork(config.network).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.step = 0

    def update(self, loss: Tensor) -> float:
        """One step of Adam at a rate that falls as a cosine to a tenth."""
        parameters = list(self.network.parameters())
        for parameter, gradient in zip(parameters, step_gradient(loss, parameters, self.step + 1), strict=True):
            parameter.grad = gradient
        fraction = self.step / self.config.num_steps
        rate = self.config.learning_rate * (0.55 + 0.45 * np.cos(np.pi * fraction))
        self.optimizer.param_groups[0]["lr"] = float(rate)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        state: dict[str, Any] = {"config": asdict(self.config), "step": self.step}
        state |= {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        try:
            with writing_atomically(path) as file:
                torch.save(state, file)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}; free some space or name another file"
            ) from None

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, weights_only=True)
            if state["config"] != asdict(self.config):
                raise InputError(f"{path} is of a training with other settings; remove it, or ask for the same")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except InputError:
            raise
        except Exception as error:  # torch raises nearly anything on damaged files
            raise ModelFileError(f"{path} is not a checkpoint of a style ({type(error).__name__}); remove it") from None


class _Loss:
    """Relative errors of content and of every image's Gram matrices, and total variation: painted and batch (N, 3, S,
    S) -> a scalar.
    """

    def __init__(self, model: nn.Module, style: Tensor, layers: StyleLayers, config: TrainStyleConfig) -> None:
        self.layers, self.config = layers, config
        self.outputs = Layers(model, (*layers.style, *layers.content))
        self.content = Layers(model, layers.content)
        self.dtype = fast_gram_dtype(style.device)
        with torch.no_grad():
            self.wanted = {
                name: gram_matrix(value, dtype=self.dtype) for name, value in Layers(model, layers.style)(style).items()
            }

    def __call__(self, painted: Tensor, batch: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.content(batch)
        found = self.outputs(painted)
        loss = self.config.total_variation * total_variation(painted)
        for name in self.layers.content:
            squares = wanted[name].square().sum(dim=(1, 2, 3)).clamp(min=1e-20)
            errors = (found[name] - wanted[name]).square().sum(dim=(1, 2, 3)) / squares
            loss = loss + errors.mean() / len(self.layers.content)
        for name, gram in self.wanted.items():
            errors = (gram_matrix(found[name], dtype=self.dtype) - gram).square().sum(
                dim=(1, 2)
            ) / gram.square().sum().clamp(min=1e-20)
            loss = loss + self.config.style_weight / len(self.wanted) * errors.mean()
        return loss


def _draw(photos: Tensor, config: TrainStyleConfig, step: int) -> Tensor:
    """The batch of a step, which depends on the seed and the step alone: (N, 3, S, S) uint8, half of them mirrored."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    chosen = photos[torch.randint(len(photos), (config.batch_size,), generator=generator)]
    is_mirrored = torch.rand(config.batch_size, generator=generator) < 0.5
    return torch.where(is_mirrored[:, None, None, None], chosen.flip(3), chosen)


def _example(network: StyleNetwork, batch: Tensor) -> np.ndarray:
    with torch.no_grad():
        return to_pixels(torch.cat((batch[:1], network(batch[:1])), dim=3))
