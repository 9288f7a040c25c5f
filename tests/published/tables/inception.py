"""Inception networks and Xception: what papers and their makers print. GoogLeNet's Table 1 is in test_inception.py."""

PARAMS = [
    ("googlenet_lrn", 6_998_552, "by hand in test_inception.py; arXiv:1409.4842, Table 1 adds up to 6.8 million"),
    ("googlenet", 6_624_904, "torchvision, GoogLeNet_Weights"),
    ("inception_v2", 11_194_984, "by hand in test_inception.py from arXiv:1502.03167, figure 5"),
    (
        "inception_v3",
        23_834_568,
        "torchvision, 27,161,264 less its auxiliary head; arXiv:1512.00567: less than 25 million",
    ),
    ("inception_v4", 42_679_816, "timm, inception_v4"),
    ("inception_resnet_v1", 22_756_328, "by hand in test_inception.py from arXiv:1602.07261, figures 10 to 15"),
    ("inception_resnet_v2", 55_843_464, "timm, inception_resnet_v2"),
    ("xception", 22_855_952, "arXiv:1610.02357, Table 3: 22,855,952"),
]

MACS = [
    (
        "googlenet_lrn",
        1.5e9,
        0.06,
        "arXiv:1409.4842, section 1: 1.5 billion, as Table 1 adds up, its first row too low",
    ),
    ("inception_v2", 2.0e9, 0.02, "usually printed as 2 billion"),
    ("inception_v3", 5e9, 0.15, "arXiv:1512.00567, abstract: 5 billion; torchvision counts 5.713"),
    ("xception", 8.4e9, 0.01, "usually printed as 8.4 billion"),
]

SHAPES = [
    (
        "inception_v2",
        (3, 224, 224),
        {
            "conv1": (64, 112, 112), "maxpool1": (64, 56, 56), "conv3": (192, 56, 56), "maxpool2": (192, 28, 28),
            "inception3a": (256, 28, 28), "inception3b": (320, 28, 28), "inception3c": (576, 14, 14),
            "inception4a": (576, 14, 14), "inception4b": (576, 14, 14), "inception4c": (576, 14, 14),
            "inception4d": (576, 14, 14), "inception4e": (1024, 7, 7),
            "inception5a": (1024, 7, 7), "inception5b": (1024, 7, 7), "avgpool": (1024, 1, 1),
        },
        "arXiv:1502.03167, figure 5, whose rows 3c and 4e print their size before the stride, 28x28 and 14x14",
    ),
    (
        "inception_v3",
        (3, 299, 299),
        {
            "Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147), "Conv2d_2b_3x3": (64, 147, 147),
            "maxpool1": (64, 73, 73), "maxpool2": (192, 35, 35), "Mixed_5d": (288, 35, 35), "Mixed_6a": (768, 17, 17),
            "Mixed_6e": (768, 17, 17), "Mixed_7a": (1280, 8, 8), "Mixed_7c": (2048, 8, 8), "avgpool": (2048, 1, 1),
        },
        "arXiv:1512.00567, Table 1, whose column is the size of what enters each row",
    ),
    (
        "inception_v4",
        (3, 299, 299),
        {
            "features.stem.0": (32, 149, 149), "features.stem.1": (32, 147, 147), "features.stem.2": (64, 147, 147),
            "features.stem.3": (160, 73, 73), "features.stem.4": (192, 71, 71), "features.stem.5": (384, 35, 35),
            "features.inception_a": (384, 35, 35), "features.reduction_a": (1024, 17, 17),
            "features.inception_b": (1024, 17, 17), "features.reduction_b": (1536, 8, 8),
            "features.inception_c": (1536, 8, 8), "avgpool": (1536, 1, 1), "fc": (1000,),
        },
        "arXiv:1602.07261, figures 3 and 9",
    ),
    (
        "inception_resnet_v1",
        (3, 299, 299),
        {
            "features.stem.0": (32, 149, 149), "features.stem.1": (32, 147, 147), "features.stem.2": (64, 147, 147),
            "features.stem.3": (64, 73, 73), "features.stem.4": (80, 73, 73), "features.stem.5": (192, 71, 71),
            "features.stem": (256, 35, 35), "features.residual_a": (256, 35, 35),
            "features.reduction_a": (896, 17, 17), "features.residual_b": (896, 17, 17),
            "features.reduction_b": (1792, 8, 8), "features.residual_c": (1792, 8, 8),
            "avgpool": (1792, 1, 1), "fc": (1000,),
        },
        "arXiv:1602.07261, figures 14 and 15",
    ),
    (
        "xception",
        (3, 299, 299),
        {"entry": (728, 19, 19), "middle": (728, 19, 19), "relu4": (2048, 10, 10), "avgpool": (2048, 1, 1)},
        "arXiv:1610.02357, figure 5: 19x19x728 between the flows, 2048 features",
    ),
]  # fmt: skip
