"""OverFeat: Sermanet et al. 2013 (arXiv:1312.6229)."""

PARAMS = [
    (
        "overfeat_fast",
        145_920_872,
        "by hand: 364*96 + 2401*256 + 2305*512 + 4609*1024 + 9217*1024 + 36865*3072 + 3073*4096 + 4097*1000; "
        "arXiv:1312.6229, Table 4: 145 million, cut off and not rounded",
    ),
    (
        "overfeat_accurate",
        144_656_488,
        "by hand: 148*96 + 4705*256 + 2305*512 + 4609*512 + 4609*1024 + 9217*1024 + 25601*4096 + 4097*5096; "
        "arXiv:1312.6229, Table 4: 144 million, cut off and not rounded",
    ),
]

MACS = [
    ("overfeat_fast", 2810e6, 0.004, "arXiv:1312.6229, Table 4: 2810 million connections"),
    ("overfeat_accurate", 5369e6, 0.004, "arXiv:1312.6229, Table 4: 5369 million connections"),
]


def _at_scale(height: int, width: int, unpooled: tuple[int, int], pooled: tuple[int, int], answers: tuple[int, int]):
    shapes = {"features.13": (1024, *unpooled), "features.14": (1024, *pooled), "classifier.6": (1000, *answers)}
    return "overfeat_accurate", (3, height, width), shapes, "arXiv:1312.6229, Table 5, multiple scales"


SHAPES = [
    (
        "overfeat_fast",
        (3, 231, 231),
        {
            "features.5": (256, 12, 12),
            "features.6": (512, 12, 12),
            "features.8": (1024, 12, 12),
            "features.10": (1024, 12, 12),
            "features.12": (1024, 6, 6),
            "classifier.0": (3072, 1, 1),
            "classifier.3": (4096, 1, 1),
            "classifier.6": (1000, 1, 1),
        },
        "arXiv:1312.6229, Table 1",
    ),
    (
        "overfeat_accurate",
        (3, 221, 221),
        {
            "features.2": (96, 36, 36),
            "features.5": (256, 15, 15),
            "features.6": (512, 15, 15),
            "features.8": (512, 15, 15),
            "features.10": (1024, 15, 15),
            "features.12": (1024, 15, 15),
            "features.14": (1024, 5, 5),
            "classifier.0": (4096, 1, 1),
            "classifier.3": (4096, 1, 1),
            "classifier.6": (1000, 1, 1),
        },
        "arXiv:1312.6229, Table 3",
    ),
    _at_scale(245, 245, (17, 17), (5, 5), (1, 1)),
    _at_scale(281, 317, (20, 23), (6, 7), (2, 3)),
    _at_scale(317, 389, (23, 29), (7, 9), (3, 5)),
    _at_scale(389, 461, (29, 35), (9, 11), (5, 7)),
    _at_scale(461, 569, (35, 44), (11, 14), (7, 10)),
]
