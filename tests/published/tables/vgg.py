"""VGG networks: Simonyan & Zisserman 2014 (arXiv:1409.1556), and what torchvision counts."""

PARAMS = [
    ("vgg11", 132_863_336, "torchvision, VGG11_Weights; arXiv:1409.1556, Table 2, A: 133 million"),
    ("vgg11_lrn", 132_863_336, "as vgg11, response normalisation having none; Table 2, A-LRN: 133 million"),
    ("vgg11_bn", 132_868_840, "torchvision, VGG11_BN_Weights"),
    ("vgg13", 133_047_848, "torchvision, VGG13_Weights; Table 2, B: 133 million"),
    ("vgg13_bn", 133_053_736, "torchvision, VGG13_BN_Weights"),
    ("vgg16_c", 133_638_952, "vgg16 less 8 * (256**2 + 2 * 512**2) where 3x3 became 1x1; Table 2, C: 134 million"),
    ("vgg16", 138_357_544, "torchvision, VGG16_Weights; Table 2, D: 138 million"),
    ("vgg16_bn", 138_365_992, "torchvision, VGG16_BN_Weights"),
    ("vgg19", 143_667_240, "torchvision, VGG19_Weights; Table 2, E: 144 million"),
    ("vgg19_bn", 143_678_248, "torchvision, VGG19_BN_Weights"),
    ("vgg16_bn_cifar", 14_728_266, "by hand: vgg16's convolutions 14,714,688, norms 2 * 4,224, and 513 * 10"),
]

MACS = [
    ("vgg16", 15.3e9, 0.015, "arXiv:1512.03385, section 3.3: 15.3 billion"),
    ("vgg19", 19.6e9, 0.005, "arXiv:1512.03385, section 3.3: 19.6 billion"),
    ("vgg16_bn_cifar", 313e6, 0.001, "usually printed as 0.31 billion"),
]

_SIZES = "arXiv:1409.1556, Table 1 for 224x224, halved by each of the five poolings"
_DENSE = {"classifier.0": (4096,), "classifier.3": (4096,), "classifier.6": (1000,)}
_PLACES = {
    "vgg11": (2, 5, 10, 15, 20),
    "vgg11_lrn": (3, 6, 11, 16, 21),
    "vgg13": (4, 9, 14, 19, 24),
    "vgg16_c": (4, 9, 16, 23, 30),
    "vgg16": (4, 9, 16, 23, 30),
    "vgg19": (4, 9, 18, 27, 36),
}
"""Where the poolings stand among the features."""
_AFTER = ((64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7))

SHAPES = [
    (
        name,
        (3, 224, 224),
        {f"features.{place}": shape for place, shape in zip(places, _AFTER, strict=True)} | _DENSE,
        _SIZES,
    )
    for name, places in _PLACES.items()
]
