"""MnasNets: arXiv:1807.11626, as torchvision has them."""

PARAMS = [
    ("mnasnet0_5", 2_218_512, "torchvision, MNASNet0_5_Weights"),
    ("mnasnet0_75", 3_170_208, "torchvision, MNASNet0_75_Weights"),
    ("mnasnet1_0", 4_383_312, "torchvision, MNASNet1_0_Weights"),
    ("mnasnet1_3", 6_282_256, "torchvision, MNASNet1_3_Weights"),
]
