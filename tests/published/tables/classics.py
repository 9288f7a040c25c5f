"""Networks before and around LeNet, and small ones of the years after: what papers and their makers print."""

PARAMS = [
    ("neocognitron", 29_722, "by hand: 24*(25 + 1) + 2*24*(24*25 + 1) + 10*(24 + 1); sizes of the paper's simulation"),
    ("neocognitron_digits", 44_146, "by hand: 24*(25 + 1) + 3*24*(24*25 + 1) + 10*(24 + 1); it has no paper"),
    ("mlp", 669_706, "by hand: 785*512 + 513*512 + 513*10; it has no paper"),
    (
        "digitnet",
        28_570,
        "by hand: 25*16 + 9*(16*16 + 16*32 + 32*64), norms 2*(16 + 16 + 32 + 64), head 10*(4*64 + 1); it has no paper",
    ),
    ("tdnn", 515, "by hand: 8*(16*3 + 1) + 3*(8*5 + 1)"),
    ("lenet1", 2_578, "NIPS 2 (1989), page 402: 2578 independent parameters; doi:10.1109/5.726791: about 2600"),
    ("rbf", 238_500, "by hand: 300 centres of 28*28 pixels and their widths, 300*785, and a head of 300*10"),
    ("lenet5_1998", 60_840, "doi:10.1109/5.726791, section II.B: 60,000 trained; and 10*84 of codes that are not"),
    ("maxout_mnist", 1_233_610, "by hand: 5*240*785 + 5*240*241 + 10*241"),
    ("maxout_cifar", 16_247_830, "by hand: 192*193 + 384*6145 + 384*4801 + 2500*4801 + 10*501"),
    ("nin_cifar", 966_986, "by hand, layer by layer in tests/unit/networks/test_nin.py"),
    ("nin_imagenet", 7_595_176, "by hand, likewise; the released file of 29 MB holds 4 bytes each"),
    (
        "strided_cnn_c_cifar",
        954_730,
        "by hand: 28*96 + 865*96 + 865*192 + 1729*192*2 + 193*192 + 193*10; printed as 1.3 million",
    ),
    ("convpool_cnn_c_cifar", 1_369_738, "as allcnn_c_cifar; arXiv:1412.6806, Table 3: about 1.4 million"),
    (
        "allcnn_a_cifar",
        1_254_250,
        "by hand: 76*96 + 865*96 + 2401*192 + 1729*192*2 + 193*192 + 193*10; printed as 1.28 million",
    ),
    ("allcnn_b_cifar", 1_300_618, "by hand: allcnn_a_cifar and 97*96 + 193*192; printed as 1.35 million"),
    (
        "allcnn_c_cifar",
        1_369_738,
        "by hand: 28*96 + 865*96*2 + 865*192 + 1729*192*3 + 193*192 + 193*10; arXiv:1412.6806, Table 3: about 1.4 "
        "million",
    ),
]

MACS = [
    (
        "lenet1",
        1e5,
        0.1,
        "doi:10.1109/5.726791, section III.C: about 100,000 multiply/add steps, additions of biases too",
    ),
]

SHAPES = [
    (
        "neocognitron",
        (1, 16, 16),
        {
            "stages.0": (24, 16, 16),
            "stages.1": (24, 10, 10),
            "stages.2": (24, 8, 8),
            "stages.3": (24, 6, 6),
            "stages.4": (24, 2, 2),
            "stages.5": (24, 1, 1),
        },
        "the paper's simulation: 16x16, 10x10, 8x8, 6x6, 2x2 and 1 cells in each of 24 planes",
    ),
    (
        "tdnn",
        (1, 16, 15),
        {"hidden1": (8, 1, 13), "hidden2": (3, 1, 9)},
        "doi:10.1109/29.21701, figure 2: 8 units over 13 frames, 3 units over 9 frames",
    ),
    (
        "lenet1",
        (1, 28, 28),
        {"h1": (4, 24, 24), "h2": (4, 12, 12), "tanh3": (12, 8, 8), "h4": (12, 4, 4), "output": (10,)},
        "NIPS 2 (1989), pages 399-402",
    ),
    (
        "lenet5_1998",
        (1, 32, 32),
        {
            "c1": (6, 28, 28),
            "s2": (6, 14, 14),
            "tanh3": (16, 10, 10),
            "s4": (16, 5, 5),
            "c5": (120, 1, 1),
            "f6": (84,),
            "output": (10,),
        },
        "doi:10.1109/5.726791, figure 2",
    ),
    (
        "maxout_cifar",
        (3, 32, 32),
        {
            "features.1": (192, 33, 33),
            "features.5": (384, 15, 15),
            "features.9": (384, 9, 9),
            "features.11": (192, 5, 5),
        },
        "by hand; the authors' configuration divides the first two layers' places into parts of 33 and 15",
    ),
    (
        "nin_cifar",
        (3, 32, 32),
        {"features.6": (96, 16, 16), "features.14": (192, 8, 8), "features.20": (10, 8, 8)},
        "the released network averages 8x8 maps",
    ),
    (
        "nin_imagenet",
        (3, 224, 224),
        {
            "features.0": (96, 54, 54),
            "features.6": (96, 27, 27),
            "features.13": (256, 13, 13),
            "features.20": (384, 6, 6),
            "features.26": (1000, 6, 6),
        },
        "the released network averages 6x6 maps",
    ),
    (
        "allcnn_c_cifar",
        (3, 32, 32),
        {"block1.4": (96, 16, 16), "block2.4": (192, 8, 8), "block3.4": (10, 6, 6)},
        "arXiv:1412.6806, Tables 1 and 2: averages over 6x6 places",
    ),
    (
        "convpool_cnn_c_cifar",
        (3, 32, 32),
        {"block1.6": (96, 16, 16), "block2.6": (192, 8, 8), "block3.4": (10, 6, 6)},
        "likewise",
    ),
]
