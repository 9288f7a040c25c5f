"""Highway networks: arXiv:1507.06228 and its authors' code."""

PARAMS = [
    ("highway_mnist", 85_660, "by hand: 785*50 + 9*2*51*50 + 51*10; section 3.1: about 5000 a layer"),
    (
        "highway19_cifar", 2_256_838,
        "by hand: 896 + 4*18,496 + 23,120 + 5*115,360 + 92,288 + 5*295,168 + 12,900 + 1,010, as in the log that its "
        "authors publish; Table 2: about 2.3M",
    ),
]  # fmt: skip

SHAPES = [
    (
        "highway19_cifar",
        (3, 32, 32),
        {"stage1.0": (32, 32, 32), "stage2.0": (80, 16, 16), "stage3.0": (128, 8, 8), "conv": (100, 8, 8)},
        "the log that its authors publish with their code",
    ),
]
