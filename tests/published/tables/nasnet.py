"""NASNet-A: arXiv:1707.07012, whose parameters and multiply-adds leave the auxiliary head out."""

PARAMS = [
    ("nasnet_a_mobile", 5_289_978, "arXiv:1707.07012, Table 3: 5.3M; by hand in test_nasnet.py"),
    ("nasnet_a_large", 88_753_150, "timm, nasnetalarge; arXiv:1707.07012, Table 2: 88.9M with 0.2M running statistics"),
    ("nasnet_a_cifar", 3_328_234, "arXiv:1707.07012, Table 1, 6 @ 768: 3.3M"),
]

MACS = [
    ("nasnet_a_mobile", 564e6, 0.001, "arXiv:1707.07012, Table 3: 564M"),
    ("nasnet_a_large", 23.8e9, 0.002, "arXiv:1707.07012, Table 2: 23.8B"),
]

SHAPES = [
    (
        "nasnet_a_mobile",
        (3, 224, 224),
        {"conv": (32, 111, 111), "cells.15.fit_current.conv": (176, 7, 7), "avgpool": (1056, 1, 1)},
        "the name: 4 @ 1056 maps at last; 224 halved five times",
    ),
    (
        "nasnet_a_large",
        (3, 331, 331),
        {"conv": (96, 165, 165), "cells.21.fit_current.conv": (672, 11, 11), "avgpool": (4032, 1, 1)},
        "the name: 6 @ 4032 maps at last; 331 halved five times",
    ),
    (
        "nasnet_a_cifar",
        (3, 32, 32),
        {"conv": (96, 32, 32), "cells.19.fit_current.conv": (128, 8, 8), "avgpool": (768, 1, 1)},
        "the name: 6 @ 768 maps at last; 32 halved twice",
    ),
]
