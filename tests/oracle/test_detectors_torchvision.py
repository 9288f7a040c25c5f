"""Detectors with torchvision's weights give torchvision's outputs, boxes and losses."""

import dataclasses

import torch
import torchvision
from torchvision.models.detection import faster_rcnn as reference
from torchvision.models.detection.roi_heads import fastrcnn_loss

from striate.networks.catalogue import entry_for
from striate.networks.detectors.box_coding import decode, encode
from striate.networks.detectors.faster_rcnn import EQUAL_TO_TORCHVISION, FasterRcnn
from striate.networks.detectors.ssd import Ssd300, SsdConfig
from striate.tasks.detection.decode import detections
from striate.tasks.detection.multibox import match, multibox_of_image
from striate.tasks.detection.two_stage import match_anchors, stage_losses
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


def test_faster_rcnn_resnet50_fpn():
    """The same anchors, proposals, second stage and detections."""
    torch.manual_seed(0)
    theirs = reference.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=4, min_size=128, max_size=160, box_score_thresh=0.0
    ).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # else random features grow without end
            module.running_var.fill_(4.0)
    with torch.no_grad():  # else all scores are nearly alike, and their order is chance
        theirs.rpn.head.cls_logits.weight.mul_(50)
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(20)
    ours = FasterRcnn(entry_for("resnet50"), dataclasses.replace(EQUAL_TO_TORCHVISION, num_classes=3)).eval()
    renamed = {
        name.replace("backbone.body.", "base.").replace("backbone.fpn.", "fpn."): value
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(renamed)
    pixels = torch.rand(2, 3, 128, 160)
    seen, _ = theirs.transform(list(pixels))
    with torch.no_grad():
        outputs = ours(seen.tensors)
        features = theirs.backbone(seen.tensors)
        objectness, _ = theirs.rpn.head(list(features.values()))
        proposals, _ = theirs.rpn(seen, features)
        theirs.roi_heads.score_thresh = -1.0
        found = theirs(list(pixels))
    expected = torch.cat([each.permute(0, 2, 3, 1).flatten(1) for each in objectness], dim=1)
    assert torch.allclose(outputs.objectness, expected, rtol=1e-5, atol=1e-5)
    sides = torch.tensor([160.0, 128, 160, 128])
    anchors = theirs.rpn.anchor_generator(seen, list(features.values()))[0]
    assert torch.allclose(outputs.anchors * sides, anchors, atol=1e-3)
    for image in range(2):
        own = outputs.proposals[image][outputs.are_real[image]] * sides
        assert own.shape == proposals[image].shape
        apart = torch.cdist(own, proposals[image], compute_mode="donot_use_mm_for_euclid_dist")
        assert max(apart.min(dim=0).values.max(), apart.min(dim=1).values.max()) < 0.01
    own = read_values(detections(outputs).numpy(), 3)
    for each, other in zip(own, found, strict=True):
        count = 20
        assert torch.allclose(torch.from_numpy(each.scores[:count]).float(), other["scores"][:count], atol=1e-5)
        assert torch.equal(torch.from_numpy(each.labels[:count]) + 1, other["labels"][:count])
        assert torch.allclose(torch.from_numpy(each.boxes[:count]).float() * sides, other["boxes"][:count], atol=1e-2)

    truth = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.4, 0.4, 0.6, 0.8]])
    matched = theirs.rpn.proposal_matcher(torchvision.ops.box_iou(truth * sides, anchors))
    assert torch.equal(match_anchors(anchors / sides, truth), matched)


def test_the_loss_of_the_second_stage():
    generator = torch.Generator().manual_seed(0)
    logits, deltas = torch.randn(12, 4, generator=generator), torch.randn(12, 4, 4, generator=generator)
    classes = torch.tensor([1, 3, 2, 3, *[0] * 8])
    wanted = torch.randn(4, 4, generator=generator)
    regressed = torch.cat([wanted, torch.zeros(8, 4)])
    expected = sum(fastrcnn_loss(logits, deltas.flatten(1), [classes], [regressed]))
    assert torch.allclose(stage_losses(logits, deltas, classes, wanted), expected)
