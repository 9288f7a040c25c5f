"""The methods against Captum and pytorch-grad-cam: same weights, same images, raw maps.

In float64, where both must agree to the last digits: float32 rounds differently in batches of other sizes, and a
maximum or a ReLU at the edge then passes its gradient elsewhere. SqueezeNet has its real weights, the others drawn
ones. Both peers must see nn.ReLU modules, each used once; where activations are functions or of another kind they are
wrong, and test_backward_rules.py decides.
"""

import copy

import numpy as np
import pytest
import torch
import torchvision
from captum import attr
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM, ScoreCAM
from torch import nn
from torch.nn import functional as F

import striate
from striate import explanation

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
NETWORKS = ("squeezenet1_0", "resnet18", "vgg11_bn")


class _OnceEach(nn.Module):
    """ResNet's blocks use one ReLU twice, which Captum refuses; the same block with two."""

    def __init__(self, block):
        super().__init__()
        self.block, self.second = block, nn.ReLU()

    def forward(self, images):
        block = self.block
        maps = block.relu(block.bn1(block.conv1(images)))
        maps = block.bn2(block.conv2(maps))
        return self.second(maps + (images if block.downsample is None else block.downsample(images)))


def plain(network: nn.Module) -> nn.Module:
    """A copy in float64 whose activations are modules of their own, not in place."""
    network = copy.deepcopy(network).double().eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, torchvision.models.resnet.BasicBlock):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, _OnceEach(module))
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return network


@pytest.fixture(scope="module")
def networks(request):
    shared = request.getfixturevalue("shared_data")
    torch.manual_seed(0)
    weights = next((shared / "squeezenet-v1.0-deep-compressed").glob("*.net"))
    built = {
        "squeezenet1_0": striate.load_model(f"squeezenet1_0:{weights}").network,
        "resnet18": torchvision.models.resnet18(num_classes=50),
        "vgg11_bn": torchvision.models.vgg11_bn(num_classes=50),
    }
    built["vgg11_bn"].classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 50)
    )  # not 120 M weights
    return {name: network.double().eval() for name, network in built.items()}


@pytest.fixture(scope="module")
def photos(request):
    """Two photos as SqueezeNet takes them, for the others smaller."""
    from PIL import Image

    folder = request.getfixturevalue("shared_data") / "imagenet-samples"
    opened = [Image.open(path).convert("RGB").resize((96, 96)) for path in sorted(folder.glob("*.JPEG"))[4:6]]
    pixels = torch.from_numpy(np.stack([np.asarray(photo) for photo in opened])).permute(0, 3, 1, 2).flip(1)
    large = pixels.double() - torch.tensor([104.0, 117, 123], dtype=torch.float64).view(3, 1, 1)
    small = F.interpolate(large, size=48, mode="area") / 60
    return {"squeezenet1_0": large, "resnet18": small, "vgg11_bn": small}


def answers(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(images).flatten(1).argmax(dim=1)


def close(found: torch.Tensor, wanted: torch.Tensor, relative: float = 1e-5) -> None:
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0
    assert (found - wanted).abs().max() <= relative * wanted.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_as_captum(networks, photos, name):
    network, peer, images = networks[name], plain(networks[name]), photos[name]
    labels = answers(network, images)
    options = {"classes": labels}
    close(explanation.saliency(network, images, **options), attr.Saliency(peer).attribute(images, labels).amax(1))
    close(explanation.gradient_x_input(network, images, **options), attr.InputXGradient(peer).attribute(images, labels))
    close(explanation.guided_backprop(network, images, **options), attr.GuidedBackprop(peer).attribute(images, labels))
    close(explanation.deconvnet(network, images, **options), attr.Deconvolution(peer).attribute(images, labels))


@pytest.mark.parametrize("name", NETWORKS)
def test_paths_and_windows_as_captum(networks, photos, name):
    network, peer, images = networks[name], plain(networks[name]), photos[name]
    labels = answers(network, images)
    found = explanation.integrated_gradients(network, images, classes=labels, num_steps=6)
    wanted = attr.IntegratedGradients(peer).attribute(images, target=labels, n_steps=6, method="riemann_middle")
    close(found, wanted)
    found = explanation.occlusion(network, images, classes=labels, window=24, stride=20)
    wanted = attr.Occlusion(peer).attribute(images, (3, 24, 24), strides=(3, 20, 20), target=labels)
    close(found, wanted[:, 0])


@pytest.mark.parametrize("name", NETWORKS)
def test_class_activation_maps_as_captum_and_grad_cam(networks, photos, name):
    network, peer, images = networks[name], plain(networks[name]), photos[name]
    labels = answers(network, images)
    layer = explanation.default_layer(network, images)
    module, own = peer.get_submodule(layer), {"classes": labels, "layer": layer}
    found = explanation.grad_cam(network, images, **own)
    wanted = attr.LayerGradCam(peer, module).attribute(images, labels, relu_attributions=True)
    close(found, wanted[:, 0])
    found = explanation.guided_grad_cam(network, images, **own)
    close(found, attr.GuidedGradCam(peer, module).attribute(images, labels, interpolate_mode="bilinear"))
    close(explanation.grad_cam(network, images, **own), raw(GradCAM, peer, module, images, labels))
    close(explanation.layer_cam(network, images, **own), raw(LayerCAM, peer, module, images, labels))


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_plus_plus_as_grad_cam(networks, photos, name):
    """Its guard of 1e-6 beside squared gradients drowns small ones; with the score times 1e4 it does not matter."""
    network, peer, images = networks[name], plain(networks[name]), photos[name]
    labels = answers(network, images)
    layer = explanation.default_layer(network, images)
    found = explanation.grad_cam_plus_plus(
        network, images, classes=lambda logits: 1e4 * logits.gather(1, labels[:, None])[:, 0], layer=layer
    )
    close(found, raw(GradCAMPlusPlus, peer, peer.get_submodule(layer), images, labels, scale=1e4))


def test_score_cam_as_grad_cam(networks, photos):
    network, images = networks["squeezenet1_0"], photos["squeezenet1_0"]
    peer, labels = plain(network), answers(network, images)
    layer = [name for name, module in peer.named_modules() if isinstance(module, nn.Conv2d)][
        1
    ]  # a squeeze of 16 channels
    found = explanation.score_cam(network, images, classes=labels, layer=layer)
    close(found, raw(ScoreCAM, peer, peer.get_submodule(layer), images, labels), relative=1e-4)  # it weighs in float32


def raw(kind, network, module, images, labels, *, scale: float = 1.0) -> torch.Tensor:
    """The map of pytorch-grad-cam before it is normalised and enlarged."""
    kept = []

    class Kept(kind):
        def get_cam_image(self, *args, **kwargs):
            kept.append(super().get_cam_image(*args, **kwargs))
            return kept[-1]

    targets = [lambda logits, label=label: scale * logits[label] for label in labels.tolist()]
    with Kept(model=network, target_layers=[module]) as cam:
        cam(input_tensor=images.clone(), targets=targets)
    return F.relu(torch.from_numpy(np.asarray(kept[0]))).double()
