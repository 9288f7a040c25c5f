"""Detectors with torchvision's weights give torchvision's outputs, boxes and losses."""

import torch
import torchvision

from striate.networks.catalogue import entry_for
from striate.networks.detectors.box_coding import decode, encode
from striate.networks.detectors.ssd import Ssd300, SsdConfig
from striate.tasks.detection.decode import detections
from striate.tasks.detection.multibox import match, multibox_of_image
from striate.tasks.detection.values import read_values


def test_ssd300():
    torch.manual_seed(0)
    theirs = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=4).eval()
    ours = Ssd300(SsdConfig(num_classes=3)).eval()
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.rand(1, 3, 300, 300)
    seen, _ = theirs.transform([pixels[0]])
    with torch.no_grad():
        maps = list(theirs.backbone(seen.tensors).values())
        expected = theirs.head(maps)
        (anchors,) = theirs.anchor_generator(seen, maps)
        outputs = ours(seen.tensors)
    assert torch.allclose(outputs.logits, expected["cls_logits"], rtol=1e-5, atol=1e-5)
    assert torch.allclose(outputs.deltas, expected["bbox_regression"], rtol=1e-5, atol=1e-5)
    assert torch.allclose(300 * outputs.anchors, anchors, atol=1e-3)
    boxes = decode(outputs.deltas[0], outputs.anchors)
    assert torch.allclose(
        300 * boxes, theirs.box_coder.decode_single(expected["bbox_regression"][0], anchors), atol=1e-2
    )

    truth = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.4, 0.4, 0.45, 0.5], [0.0, 0.3, 0.9, 0.9]])
    labels = torch.tensor([0, 2, 1])
    matched = match(outputs.anchors, truth)
    assert torch.equal(matched, theirs.proposal_matcher(torchvision.ops.box_iou(300 * truth, anchors)))
    own = multibox_of_image(outputs, 0, truth, labels, matched, torch.zeros(len(anchors), dtype=torch.bool))
    target = [{"boxes": 300 * truth, "labels": labels + 1}]
    losses = theirs.compute_loss(target, expected, [anchors], [matched])
    num_matched = (matched >= 0).sum()
    assert torch.allclose(own[0] / num_matched, losses["bbox_regression"], rtol=1e-4)
    assert torch.allclose(own[1] / num_matched, losses["classification"], rtol=1e-4)
    with torch.no_grad():
        (found,) = read_values(detections(outputs).numpy(), 3)
        (reference,) = theirs([pixels[0]])
    count = min(10, len(found.scores))
    assert torch.allclose(torch.from_numpy(found.scores[:count]).float(), reference["scores"][:count], atol=1e-5)


def test_ssd300_is_counted_right():
    entry = entry_for("ssd300")
    with torch.device("meta"):
        network = entry.build(entry.config)
        reference = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=91)
    assert (
        sum(p.numel() for p in network.parameters())
        == entry.num_params
        == sum(p.numel() for p in reference.parameters())
    )


def test_coding_of_boxes():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(20, 2, generator=generator)
    boxes = torch.cat([corners, corners + 0.1 + torch.rand(20, 2, generator=generator)], dim=1)
    anchors = boxes.roll(1, 0)
    coder = torchvision.models.detection._utils.BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    assert torch.allclose(encode(boxes, anchors), coder.encode_single(boxes, anchors), atol=1e-5)
    assert torch.allclose(decode(encode(boxes, anchors), anchors), boxes, atol=1e-5)
