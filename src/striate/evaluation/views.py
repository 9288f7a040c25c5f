"""Views of an image that are made before it is cut out: AlexNet's ten crops and ResNet's five scales. N images, K
classes.

"ten_crop": the four corners and the centre of the image, and their mirror images (Krizhevsky et al. 2012, section 4.1).
Where preprocessing leaves no margin around its crop, the image is first resized to 256 / 224 of the crop.
"five_scales": the image resized so that its crop has 1, 256/224, 384/224, 480/224 and 640/224 times the side, each as a
whole and mirrored (He et al. 2015, arXiv:1512.03385, section 3.4: short sides 224, 256, 384, 480, 640). Departures:
probabilities are averaged, not logits; the square at the centre is seen, not the whole image, so that images of any
shape go in one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from striate.data.opening import Access, OpenedData, pack_data
from striate.data.preprocessing import MAX_RESIZE_PX, Preprocessing
from striate.errors import InputError, NonFiniteLoss
from striate.networks.catalogue import CATALOGUE, check_input_size, entry_for
from striate.networks.restore import evaluating
from striate.tasks.model import Model

IMAGE_VIEWS = ("ten_crop", "five_scales")
SCALES = (224, 256, 384, 480, 640)
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


@dataclass(frozen=True)
class View:
    """A crop of an image as `preprocessing` resizes it, at (top, left) as fractions of the room there is, perhaps
    mirrored.
    """

    preprocessing: Preprocessing
    place: tuple[float, float]
    is_mirrored: bool

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Pixels (crop height, crop width, C) of the resized image (h, w, C)."""
        height, width = self.preprocessing.crop_size
        top, left = (
            round(part * (room - side))
            for part, room, side in zip(self.place, image.shape, (height, width), strict=False)
        )
        crop = image[top : top + height, left : left + width]
        return crop[:, ::-1] if self.is_mirrored else crop


def views_of(model: Model, average: str) -> tuple[View, ...]:
    """The views of each image. InputError for a kind that is none of IMAGE_VIEWS, or a model that cannot see images of
    these sizes.
    """
    if average not in IMAGE_VIEWS:
        raise InputError(f"views are {' or '.join(IMAGE_VIEWS)} but not {average!r}")
    own = model.preprocessing
    if average == "ten_crop":
        least = round(max(own.crop_size) * 256 / 224)
        seen = own if own.resize_size > max(own.crop_size) else replace(own, resize_size=min(least, MAX_RESIZE_PX))
        return tuple(View(seen, place, mirrored) for place in _CORNERS for mirrored in (False, True))
    if own.mean_image is not None:
        raise InputError(
            "the model subtracts a mean image of one size, so it cannot see images at five scales; use ten_crop"
        )
    entry = entry_for(model.network_name) if model.network_name in CATALOGUE else None
    views = []
    for scale in SCALES:
        height, width = (round(side * scale / SCALES[0]) for side in own.crop_size)
        if max(height, width) > MAX_RESIZE_PX:
            raise InputError(
                f"the largest of five scales is {max(height, width)} pixels, over the limit of {MAX_RESIZE_PX}"
            )
        if entry is not None and entry.is_fixed_size:
            raise InputError(f"{model.network_name} sees images of one size only, and not at five scales; use ten_crop")
        if entry is not None:
            check_input_size(entry, (height, width))
        resized = replace(own, resize_size=max(height, width), crop_size=(height, width))
        views += [View(resized, (0.5, 0.5), mirrored) for mirrored in (False, True)]
    return tuple(views)


def averaged_probabilities(
    model: Model,
    data: OpenedData,
    indices: np.ndarray,
    average: str,
    *,
    batch_size: int = 64,
    access: Access | None = None,
) -> np.ndarray:
    """Mean probabilities (n, K) over the views of each of the images `indices` of a source, all readable.

    Images of another size than the model's are decoded for it, and nothing of them is kept. Raises as `views_of`.
    """
    access = access or Access()
    total = np.zeros((len(indices), len(model.class_names)))
    views = views_of(model, average)
    for preprocessing in dict.fromkeys(view.preprocessing for view in views):
        own = [view for view in views if view.preprocessing == preprocessing]
        packed = pack_data(data, preprocessing, access, stream=True)
        share = SCALES[0] ** 2 / max(SCALES[0] ** 2, preprocessing.crop_size[0] * preprocessing.crop_size[1])
        size = max(1, round(batch_size * share))
        starts = range(0, len(indices), size)
        for start in access.track(starts, f"averaging views at {preprocessing.crop_size[0]} px", len(starts)):
            rows = indices[start : start + size]
            images = [packed.image(index) for index in rows.tolist()]
            for view in own:
                pixels = np.stack([view.cut(image) for image in images])
                total[start : start + size] += probabilities_at(model, pixels, preprocessing)
    return total / len(views)


def probabilities_at(model: Model, pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Probabilities (n, K) for pixels (n, H, W, C) uint8 of another size than the model's own. NonFiniteLoss where one
    is not finite.
    """
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(model.device)
    try:
        with evaluating(model.network), torch.no_grad():
            logits = replace(model, preprocessing=preprocessing).pixel_model(images)
    except RuntimeError as error:
        height, width = preprocessing.crop_size
        reason = str(error).splitlines()[0]
        raise InputError(f"{model.network_name} cannot see images of {height}x{width} pixels: {reason}") from None
    if not logits.isfinite().all():
        raise NonFiniteLoss("the network answers some images with NaN or infinity; its weights are damaged")
    result: np.ndarray = logits.softmax(dim=1).cpu().numpy()
    return result


def view_function(model: Model, average: str) -> Callable[[np.ndarray | Image.Image], np.ndarray]:
    """Gives mean probabilities (1, K) over the views of one decoded image, (H, W, C) uint8 or Pillow's."""
    views = views_of(model, average)

    def run(image: np.ndarray | Image.Image) -> np.ndarray:
        total = np.zeros((1, len(model.class_names)))
        for preprocessing in dict.fromkeys(view.preprocessing for view in views):
            resized = preprocessing.resize_image(image)
            own = [view.cut(resized) for view in views if view.preprocessing == preprocessing]
            total += probabilities_at(model, np.stack(own), preprocessing).sum(axis=0, keepdims=True)
        return total / len(views)

    return run
