"""Faster R-CNN: a network that proposes where something is, and a second stage that says what, on the same features
(Ren et al. 2015, arXiv:1506.01497), which form a pyramid (Lin et al. 2017, arXiv:1612.03144); on any network of the
catalogue.

N images, C channels, K classes, A anchors, P proposals.

With EQUAL_TO_TORCHVISION on ResNet-50 it equals torchvision's fasterrcnn_resnet50_fpn; its parameters are called alike
but for "backbone.body", which is "base" here, and "backbone.fpn". Departures: proposals keep one fixed number,
suppressed in rounds (suppression.py), so that shapes depend on no image; the usual widths are smaller, so that it runs
on a processor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from striate.errors import InputError
from striate.networks.checking import check_counts
from striate.networks.detectors.box_coding import decode
from striate.networks.detectors.boxes import ProposalBoxes
from striate.networks.detectors.suppression import suppress
from striate.networks.entry import Entry
from striate.networks.entry_on import entry_on
from striate.networks.pyramid import Tap, backbone_of, maps_of

STRIDES = (4, 8, 16, 32)
RATIOS = (0.5, 1.0, 2.0)
SIDE_IN_STRIDES = 8
"""An anchor's side on each map, in strides: 32 pixels on the finest, as in section 4.1 of the pyramid's paper."""
RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
PROPOSAL_IOU = 0.7
NUM_ROUNDS = 60
POOLED, SAMPLES = 7, 2
USUAL_SIDE_PX, USUAL_STRIDE = 224, 16
"""A box of this side is looked up on the map of this stride (section 4.2, equation 1)."""


@dataclass(frozen=True)
class FasterRcnnConfig:
    """Channels in and classes out, the background not counted; maps of the pyramid, units of the second stage's two
    layers, proposals kept of each map before suppression and of an image after it.
    """

    in_channels: int = 3
    num_classes: int = 90
    width: int = 128
    hidden: int = 512
    num_before: int = 500
    num_proposals: int = 200

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if min(self.width, self.hidden, self.num_before, self.num_proposals) < 1:
            raise InputError("widths and numbers of proposals must be at least 1")


class Pyramid(nn.Module):
    """Each map by 1x1 to one width, the coarser added from above, and smoothed; below the coarsest every second place
    of it.
    """

    def __init__(self, taps: Sequence[Tap], width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(tap.channels, width, 1)) for tap in taps)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in taps)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps, finest first -> one map more, all of the same width."""
        last = self.inner_blocks[-1](maps[-1])
        found = [self.layer_blocks[-1](last)]
        for number in range(len(maps) - 2, -1, -1):
            lateral = self.inner_blocks[number](maps[number])
            last = lateral + F.interpolate(last, size=lateral.shape[2:], mode="nearest")
            found.insert(0, self.layer_blocks[number](last))
        return [*found, F.max_pool2d(found[-1], 1, 2, 0)]


class RpnHead(nn.Module):
    """At each place of a map, whether there is anything and where, for each anchor."""

    def __init__(self, width: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()))
        self.cls_logits = nn.Conv2d(width, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * num_anchors, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """A map (N, width, h, w) -> logits (N, h * w * a) and changes (N, h * w * a, 4), place by place."""
        features = self.conv(maps)
        logits = self.cls_logits(features).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(features).permute(0, 2, 3, 1).reshape(len(maps), -1, 4)
        return logits, deltas


class BoxHead(nn.Module):
    """Two dense layers on what a box holds."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(width * POOLED * POOLED, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """(R, width, 7, 7) -> (R, hidden)."""
        return F.relu(self.fc7(F.relu(self.fc6(features.flatten(1)))))


class BoxPredictor(nn.Module):
    """Class and change of a box for each class."""

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, num_classes + 1)
        self.bbox_pred = nn.Linear(hidden, 4 * (num_classes + 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, hidden) -> (R, K + 1) and (R, 4 * (K + 1))."""
        return self.cls_score(features), self.bbox_pred(features)


class FasterRcnn(nn.Module):
    """Images (N, C, H, W) -> ProposalBoxes."""

    def __init__(self, base: Entry, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.base, self.taps = backbone_of(base, config.in_channels, STRIDES)
        self.fpn = Pyramid(self.taps, config.width)
        self.rpn = nn.ModuleDict({"head": RpnHead(config.width, len(RATIOS))})
        self.roi_heads = nn.ModuleDict(
            {
                "box_head": BoxHead(config.width, config.hidden),
                "box_predictor": BoxPredictor(config.hidden, config.num_classes),
            }
        )

    def forward(self, images: Tensor) -> ProposalBoxes:
        """Proposals, and in evaluation mode what they are."""
        size = (images.shape[2], images.shape[3])
        maps = self.fpn(maps_of(self.base, images, self.taps))
        heads = [self.rpn["head"](each) for each in maps]
        strides = [*(tap.stride for tap in self.taps), 2 * self.taps[-1].stride]
        levels = [grid_anchors(each.shape[2:], size, stride) for each, stride in zip(maps, strides, strict=True)]
        levels = [each.to(images.device) for each in levels]
        proposals, are_real = self.proposed([(logits, deltas) for logits, deltas in heads], levels)
        classified = partial(self.classified, [each.float() for each in maps[:-1]], size)
        if self.training:
            none = images.new_zeros(len(images), 0, self.config.num_classes + 1)
            logits, box_deltas = none, none[..., None].expand(-1, -1, -1, 4)
        else:
            logits, box_deltas = classified(proposals, torch.arange(len(images), device=images.device))
        return ProposalBoxes(
            torch.cat([logits for logits, _ in heads], 1),
            torch.cat([deltas for _, deltas in heads], 1),
            torch.cat(levels),
            proposals,
            are_real,
            logits,
            box_deltas,
            classified,
        )

    @torch.no_grad()
    def proposed(self, heads: list[tuple[Tensor, Tensor]], anchors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The best boxes of an image after suppression map by map, (N, P, 4), surest first, and which there are (N,
        P).
        """
        boxes, scores = [], []
        for (logits, deltas), own in zip(heads, anchors, strict=True):
            count = min(self.config.num_before, logits.shape[1])
            best, chosen = logits.detach().float().sigmoid().topk(count, dim=1)
            picked = deltas.detach().float().gather(1, chosen[..., None].expand(-1, -1, 4))
            found = decode(picked, own[chosen], RPN_WEIGHTS).clamp(0, 1)
            kept = suppress(found, best, torch.zeros_like(chosen), PROPOSAL_IOU, num_rounds=NUM_ROUNDS)
            boxes.append(found)
            scores.append(torch.where(kept, best, torch.full_like(best, -1.0)))
        joined = torch.cat(scores, 1)
        best, chosen = joined.topk(min(self.config.num_proposals, joined.shape[1]), dim=1)
        return torch.cat(boxes, 1).gather(1, chosen[..., None].expand(-1, -1, 4)), best >= 0

    def classified(
        self, maps: list[Tensor], size: tuple[int, int], boxes: Tensor, images: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The second stage on boxes (n, S, 4) of these images (n,), see ProposalBoxes."""
        height, width = size
        count = boxes.shape[1]
        corners = boxes.reshape(-1, 4) * boxes.new_tensor([width, height, width, height])
        rows = torch.cat([images.repeat_interleave(count)[:, None].to(corners.dtype), corners], dim=1)  # (R, 5)
        sides = (corners[:, 2:] - corners[:, :2]).clamp(min=0).prod(dim=1).sqrt()
        strides = [tap.stride for tap in self.taps]
        wanted = torch.floor(math.log2(USUAL_STRIDE) + torch.log2(sides / USUAL_SIDE_PX + 1e-8) + 1e-6)
        wanted = wanted.clamp(math.log2(strides[0]), math.log2(strides[-1]))
        features = maps[0].new_zeros(len(rows), maps[0].shape[1], POOLED, POOLED)
        for each, stride in zip(maps, strides, strict=True):
            is_own = wanted == math.log2(stride)
            if torch.compiler.is_exporting() or rows.is_meta:  # the shapes of a program may not depend on the boxes
                pooled = roi_align(each, rows, POOLED, 1 / stride, SAMPLES)
                features = torch.where(is_own[:, None, None, None], pooled, features)
            elif len(chosen := is_own.nonzero().flatten()):
                pooled = roi_align(each, rows[chosen], POOLED, 1 / stride, SAMPLES)
                features = features.index_put((chosen,), pooled)
        logits, deltas = self.roi_heads["box_predictor"](self.roi_heads["box_head"](features))
        return logits.view(len(boxes), count, -1), deltas.view(len(boxes), count, -1, 4)


def grid_anchors(shape: Sequence[int], size: tuple[int, int], stride: int) -> Tensor:
    """The anchors of a map's places (rows * columns * a, 4), as fractions of an image of `size` (height, width). Their
    corners are rounded to whole pixels, and the first one's middle is the image's corner, as in Detectron.
    """
    rows, columns = shape
    height, width = size
    ratios = torch.tensor(RATIOS).sqrt()
    tall, wide = stride * SIDE_IN_STRIDES * ratios, stride * SIDE_IN_STRIDES / ratios
    cells = (torch.stack([-wide, -tall, wide, tall], dim=1) / 2).round()  # (a, 4)
    y, x = torch.meshgrid(
        torch.arange(rows) * (height // rows), torch.arange(columns) * (width // columns), indexing="ij"
    )
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return ((shifts + cells) / torch.tensor([width, height, width, height])).reshape(-1, 4)


def faster_rcnn_on(base: Entry) -> Entry:
    """The entry of Faster R-CNN on a network of the catalogue."""
    return _entry(base, FasterRcnnConfig())


def _entry(base: Entry, config: FasterRcnnConfig) -> Entry:
    head = "roi_heads.box_predictor.cls_score"
    return entry_on(
        base, "faster_rcnn", partial(FasterRcnn, base), config, head=head, year=2015, title=TITLE, paper=PAPER
    )


TITLE = "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks"
PAPER = "arXiv:1506.01497"
EQUAL_TO_TORCHVISION = FasterRcnnConfig(width=256, hidden=1024, num_before=1000, num_proposals=1000)
"""The widths of torchvision's, on ResNet-50."""
