"""LeNets, AlexNets, SqueezeNets, ResNets and airbench: what papers and their makers print."""

PARAMS = [
    ("lenet5_caffe", 431_080, "by hand: 20*26 + 50*501 + 500*801 + 10*501; arXiv:1510.00149, Table 1: 431K"),
    ("lenet_300_100", 266_610, "by hand: 785*300 + 301*100 + 101*10; arXiv:1510.00149, Table 1: 266K"),
    ("lenet5", 61_706, "by hand: 26*6 + 151*16 + 401*120 + 121*84 + 85*10; the paper, section II.B: about 60,000"),
    ("alexnet", 61_100_840, "torchvision, AlexNet_Weights.IMAGENET1K_V1"),
    ("alexnet_two_towers", 60_965_224, "by hand in test_params.py; the paper's abstract: 60 million"),
    ("alexnet_small", 23_272_266, "by hand, layer by layer in test_params.py; it has no paper"),
    ("squeezenet1_0", 1_248_424, "torchvision, SqueezeNet1_0_Weights; arXiv:1602.07360, Table 1: 1,248,424"),
    ("squeezenet1_1", 1_235_496, "torchvision, SqueezeNet1_1_Weights"),
    ("resnet18", 11_689_512, "torchvision, ResNet18_Weights"),
    ("resnet34", 21_797_672, "torchvision, ResNet34_Weights"),
    ("resnet50", 25_557_032, "torchvision, ResNet50_Weights"),
    ("resnet20_cifar", 269_722, "arXiv:1512.03385, Table 6: 0.27M"),
    ("resnet18_cifar", 11_173_962, "resnet18 less 9,408 + 513,000 and plus 1,728 + 5,130 of stem and head"),
    ("airbench94_cifar", 1_972_792, "arXiv:2404.00498, section 3: 1.97 million"),
    (
        "airbench95_cifar",
        4_606_520,
        "by hand: filters 9*(24*128 + 128*128 + 128*384 + 3*384*384), 24*(12 + 1) whitening, norms 2*2*(128 + 2*384), "
        "head 3840",
    ),
]

MACS = [
    ("resnet18", 1.8e9, 0.01, "arXiv:1512.03385, Table 1: 1.8 billion"),
    ("resnet34", 3.6e9, 0.02, "arXiv:1512.03385, Table 1: 3.6 billion"),
    ("resnet50", 3.8e9, 0.08, "arXiv:1512.03385, Table 1: 3.8 billion with the stride in the 1x1; 4.1 in the 3x3"),
    ("resnet20_cifar", 41e6, 0.02, "40.6 million by hand; usually printed as 41 million"),
    ("alexnet_two_towers", 724e6, 0.01, "usually printed as 724 million"),
]

SHAPES = [
    (
        "alexnet_two_towers",
        (3, 227, 227),
        {
            "features.0": (96, 55, 55),
            "features.3": (96, 27, 27),
            "features.4": (256, 27, 27),
            "features.7": (256, 13, 13),
            "features.12": (256, 13, 13),
            "features.14": (256, 6, 6),
            "classifier.0": (4096,),
            "classifier.3": (4096,),
        },
        "the paper's figure 2 and section 3.5: 55x55x96, 27x27, 13x13, 6x6x256",
    ),
    (
        "squeezenet1_0",
        (3, 227, 227),
        {
            "features.0": (96, 111, 111),
            "features.2": (96, 55, 55),
            "features.6": (256, 27, 27),
            "features.11": (512, 13, 13),
            "classifier.1": (1000, 13, 13),
        },
        "arXiv:1602.07360, Table 1, printed for 224x224 but conv1, without padding, gives its 111x111 at 227x227",
    ),
]
