"""EfficientNets: arXiv:1905.11946, whose Table 2 counts parameters with the running statistics of batch norms."""

PARAMS = [
    ("efficientnet_b0", 5_288_548, "torchvision, EfficientNet_B0_Weights; Table 2: 5.3M"),
    ("efficientnet_b1", 7_794_184, "torchvision, EfficientNet_B1_Weights; Table 2: 7.8M"),
    ("efficientnet_b2", 9_109_994, "torchvision, EfficientNet_B2_Weights; Table 2: 9.2M, with 67,568 statistics"),
    ("efficientnet_b3", 12_233_232, "torchvision, EfficientNet_B3_Weights; Table 2: 12M"),
    ("efficientnet_b4", 19_341_616, "torchvision, EfficientNet_B4_Weights; Table 2: 19M"),
    ("efficientnet_b5", 30_389_784, "torchvision, EfficientNet_B5_Weights; Table 2: 30M"),
    ("efficientnet_b6", 43_040_704, "torchvision, EfficientNet_B6_Weights; Table 2: 43M"),
    ("efficientnet_b7", 66_347_960, "torchvision, EfficientNet_B7_Weights; Table 2: 66M"),
]

MACS = [
    ("efficientnet_b0", 0.39e9, 0.013, "Table 2: 0.39B"),
    ("efficientnet_b1", 0.70e9, 0.02, "Table 2: 0.70B"),
    ("efficientnet_b2", 1.0e9, 0.05, "Table 2: 1.0B"),
    ("efficientnet_b3", 1.8e9, 0.03, "Table 2: 1.8B"),
    ("efficientnet_b4", 4.2e9, 0.05, "Table 2: 4.2B"),
    ("efficientnet_b5", 9.9e9, 0.04, "Table 2: 9.9B"),
    ("efficientnet_b6", 19e9, 0.01, "Table 2: 19B"),
    ("efficientnet_b7", 37e9, 0.025, "Table 2: 37B"),
]

SHAPES = [
    (
        "efficientnet_b0",
        (3, 224, 224),
        {
            "features.0.0": (32, 112, 112),
            "features.1.0.block.2.1": (16, 112, 112),
            "features.2.1.block.3.1": (24, 56, 56),
            "features.3.1.block.3.1": (40, 28, 28),
            "features.4.2.block.3.1": (80, 14, 14),
            "features.5.2.block.3.1": (112, 14, 14),
            "features.6.3.block.3.1": (192, 7, 7),
            "features.7.0.block.3.1": (320, 7, 7),
            "features.8.0": (1280, 7, 7),
            "classifier.1": (1000,),
        },
        "Table 1: channels of each stage and the size that enters the next",
    ),
]
