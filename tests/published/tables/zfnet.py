"""ZFNet: Zeiler & Fergus 2013 (arXiv:1311.2901)."""

PARAMS = [
    ("zfnet", 62_357_608, "by hand: 148*96 + 2401*256 + 2305*384 + 3457*384 + 3457*256 + 9217*4096 + 4097*5096"),
    ("zfnet_512", 107_627_624, "by hand: 148*96 + 2401*256 + 2305*512 + 4609*1024 + 9217*512 + 18433*4096 + 4097*5096"),
]

SHAPES = [
    (
        name,
        (3, 224, 224),
        {
            "features.0": (96, 110, 110),
            "features.2": (96, 55, 55),
            "features.4": (256, 26, 26),
            "features.6": (256, 13, 13),
            "features.8": (third, 13, 13),
            "features.10": (fourth, 13, 13),
            "features.12": (fifth, 13, 13),
            "features.14": (fifth, 6, 6),
            "classifier.0": (4096,),
            "classifier.3": (4096,),
        },
        f"arXiv:1311.2901, {where}",
    )
    for name, third, fourth, fifth, where in (
        ("zfnet", 384, 384, 256, "figure 3"),
        ("zfnet_512", 512, 1024, 512, "Table 2, (b), in figure 3"),
    )
]
