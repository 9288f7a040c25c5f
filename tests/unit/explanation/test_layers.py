"""Where class activation maps are taken by default, in other people's networks, and token networks."""

import pytest
import torch
import torchvision

from striate import explanation
from striate.errors import InputError

LAYERS = {
    "resnet18": "layer4",
    "squeezenet1_1": "features",
    "mobilenet_v3_small": "features",
    "shufflenet_v2_x0_5": "conv5",
}


@pytest.mark.parametrize("name", LAYERS)
def test_last_spatial_features_of_torchvision_networks(name):
    network = torchvision.models.get_model(name, weights=None, num_classes=5)
    images = torch.randn(1, 3, 96, 96)
    layer = explanation.default_layer(network, images)
    assert layer == LAYERS[name]
    wanted = explanation.grad_cam(network, images, classes=1)
    assert wanted.shape[0] == 1
    assert wanted.shape[1] == wanted.shape[2] > 1
    assert torch.equal(wanted, explanation.grad_cam(network, images, classes=1, layer=layer))


def test_the_last_convolution_after_its_activation_before_the_pooling():
    features = torchvision.models.vgg.make_layers([8, "M", 16, 16, "M"], batch_norm=True)
    network = torchvision.models.VGG(features, num_classes=5, init_weights=False)
    network.classifier = torch.nn.Linear(16 * 7 * 7, 5)
    assert (
        explanation.default_layer(network, torch.randn(1, 3, 32, 32)) == "features.9"
    )  # conv 7, norm 8, ReLU 9, pool 10


def test_tokens_are_put_on_their_grid_and_a_layer_has_to_be_named():
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    torch.nn.init.normal_(network.heads.head.weight)  # drawn as zeros, which no gradient passes
    images = torch.randn(2, 3, 32, 32)
    with pytest.raises(InputError, match="goes on with tokens after conv_proj") as caught:
        explanation.grad_cam(network, images, classes=1)
    layer = "encoder.layers.encoder_layer_1.ln_1"
    assert layer in str(caught.value)
    assert explanation.layer_cam(network, images, classes=1, layer=layer).shape == (2, 4, 4)
    assert explanation.saliency(network, images, classes=1).shape == (2, 32, 32)
    assert explanation.guided_backprop(network, images, classes=1).abs().max() > 0  # GELU
