"""Average precision by COCO's and VOC's definitions, computed by faster-coco-eval, which equals pycocotools. K classes,
N images.

It comes with the extra `detection`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.errors import InputError
from striate.tasks.detection.values import Found

_ALL_AREAS = [[0.0, 1e10]]
NUM_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class Truths:
    """What is to be found in one image of `size` (height, width): `boxes` (g, 4) as fractions, `labels` (g,),
    `are_ignored` (g,).
    """

    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    are_ignored: np.ndarray


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's figures: `ap` is the mean over classes and the IoU thresholds .50 to .95; `ap50` and `ap75` are at one
    threshold; `small`, `medium` and `large` are of boxes below 32 x 32, below 96 x 96 and larger, in pixels. None where
    nothing counts. `per_class` holds (AP, AP50) of each class.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    per_class: tuple[tuple[float | None, float | None], ...]


def require_library() -> Any:
    """faster_coco_eval; InputError where it is not installed."""
    try:
        import faster_coco_eval
    except ImportError:
        raise InputError(
            "average precision is computed by faster-coco-eval, which is not installed: pip install "
            "'striate[detection]'"
        ) from None
    return faster_coco_eval


def average_precision(truths: list[Truths], found: list[Found], num_classes: int) -> AveragePrecision:
    """The figures of detections on images, one of each list an image."""
    precision = _evaluated(truths, found, num_classes).eval["precision"]  # (T, R, K, A, M)
    best = precision[..., -1]
    return AveragePrecision(
        ap=_mean(best[:, :, :, 0]),
        ap50=_mean(best[0, :, :, 0]),
        ap75=_mean(best[5, :, :, 0]),
        small=_mean(best[:, :, :, 1]),
        medium=_mean(best[:, :, :, 2]),
        large=_mean(best[:, :, :, 3]),
        per_class=tuple((_mean(best[:, :, k, 0]), _mean(best[0, :, k, 0])) for k in range(num_classes)),
    )


def voc_average_precision(
    truths: list[Truths], found: list[Found], num_classes: int
) -> tuple[float | None, float | None]:
    """Mean AP at IoU .5 by VOC 2007, at eleven recalls, and by VOC 2010 and later, under the whole curve (Everingham et
    al. 2010, section 4.2): interpolated precision at the recall of every object is its area.
    """
    counts = np.zeros(num_classes, np.int64)
    for each in truths:
        counts += np.bincount(each.labels[~each.are_ignored & (each.labels >= 0)], minlength=num_classes)
    eleven: list[float] = []
    whole: list[float] = []
    for label in np.flatnonzero(counts):
        own = [
            Found(f.boxes[f.labels == label], f.scores[f.labels == label], f.labels[f.labels == label] * 0)
            for f in found
        ]
        only = [_of_class(each, int(label)) for each in truths]
        for recalls, into in (
            (np.linspace(0, 1, 11), eleven),
            (np.arange(1, counts[label] + 1) / counts[label], whole),
        ):
            curve = _evaluated(only, own, 1, thresholds=np.array([0.5]), recalls=recalls, areas=_ALL_AREAS).eval[
                "precision"
            ]
            into.append(float(curve[0, :, 0, 0, -1].mean()))
    return (float(np.mean(eleven)), float(np.mean(whole))) if eleven else (None, None)


def resampled(
    truths: list[Truths], found: list[Found], num_classes: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """AP and AP50 of as many images drawn again with replacement, NUM_RESAMPLES times: two arrays. Images are matched
    once.
    """
    evaluator = _evaluated(truths, found, num_classes, areas=_ALL_AREAS)
    count, matched = len(truths), evaluator._evalImgs_cpp
    generator = np.random.default_rng(seed)
    aps, ap50s = [], []
    for _ in range(NUM_RESAMPLES):
        drawn = generator.integers(0, count, count)
        evaluator._evalImgs_cpp = [matched[k * count + image] for k in range(num_classes) for image in drawn]
        evaluator.accumulate()
        best = evaluator.eval["precision"][:, :, :, 0, -1]
        aps.append(_mean(best) or 0.0)
        ap50s.append(_mean(best[0]) or 0.0)
    return np.array(aps), np.array(ap50s)


def _of_class(truths: Truths, label: int) -> Truths:
    chosen = (truths.labels == label) | (truths.labels < 0)
    labels = np.where(truths.labels[chosen] == label, 0, -1)
    return Truths(truths.size, truths.boxes[chosen], labels, truths.are_ignored[chosen])


def _mean(precision: np.ndarray) -> float | None:
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else None


def _evaluated(
    truths: list[Truths],
    found: list[Found],
    num_classes: int,
    *,
    thresholds: np.ndarray | None = None,
    recalls: np.ndarray | None = None,
    areas: list[list[float]] | None = None,
) -> Any:
    """The library's evaluator after its work; what is ignored is a crowd to it."""
    library = require_library()
    gt = library.COCO(_dataset(truths, num_classes), print_function=_silent)
    dt = gt.loadRes(_results(truths, found))
    evaluator = library.COCOeval_faster(gt, dt, "bbox", print_function=_silent, separate_eval=True)
    evaluator.params.imgIds = list(range(1, len(truths) + 1))
    evaluator.params.catIds = list(range(1, num_classes + 1))
    if thresholds is not None:
        evaluator.params.iouThrs = thresholds
    if recalls is not None:
        evaluator.params.recThrs = recalls
    if areas is not None:
        evaluator.params.areaRng = areas
        evaluator.params.areaRngLbl = ["all"]
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def _dataset(truths: list[Truths], num_classes: int) -> dict[str, Any]:
    """In COCO's form; a region left out for all classes is a crowd of each."""
    annotations: list[dict[str, Any]] = []
    for number, each in enumerate(truths, 1):
        height, width = each.size
        boxes = each.boxes * np.array([width, height, width, height], float)
        for box, label, is_ignored in zip(boxes.tolist(), each.labels.tolist(), each.are_ignored.tolist(), strict=True):
            sides = box[2] - box[0], box[3] - box[1]
            for category in range(num_classes) if label < 0 else (label,):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category + 1,
                        "bbox": [box[0], box[1], *sides],
                        "area": sides[0] * sides[1],
                        "iscrowd": int(is_ignored),
                    }
                )
    images = [{"id": number, "height": each.size[0], "width": each.size[1]} for number, each in enumerate(truths, 1)]
    categories = [{"id": k + 1, "name": str(k)} for k in range(num_classes)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _results(truths: list[Truths], found: list[Found]) -> np.ndarray:
    """(M, 7): image, x, y, width, height, score, class."""
    rows = [np.zeros((0, 7))]
    for number, (each, own) in enumerate(zip(truths, found, strict=True), 1):
        height, width = each.size
        boxes = own.boxes * np.array([width, height, width, height], float)
        sides = boxes[:, 2:] - boxes[:, :2]
        images = np.full(len(own.scores), float(number))
        rows.append(np.column_stack([images, boxes[:, :2], sides, own.scores, own.labels + 1]))
    return np.concatenate(rows)


def _silent(*_words: object) -> None:
    """In place of print."""
