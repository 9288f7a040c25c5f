"""FractalNets: arXiv:1605.07648."""

PARAMS = [
    (
        "fractalnet20_cifar",
        33_724_618,
        "by hand: 9 * (3*(3*64 + 64*128 + 128*256 + 256*512 + 512*512) + 4*(64**2 + 128**2 + 256**2 + 2*512**2)) "
        "weights, 14 * 1472 of batch norms, 513*10; the paper prints 38.6M, which these filters do not make",
    ),
    ("fractalnet40_cifar100", 4_778_820, "arXiv:1605.07648, ultra-deep networks, 4 columns: 4.8M"),
]

SHAPES = [
    (
        "fractalnet20_cifar",
        (3, 32, 32),
        {
            "blocks.0.columns.2.3.conv": (64, 32, 32),
            "blocks.1.columns.2.3.conv": (128, 16, 16),
            "blocks.2.columns.2.3.conv": (256, 8, 8),
            "blocks.3.columns.2.3.conv": (512, 4, 4),
            "blocks.4.columns.2.3.conv": (512, 2, 2),
            "blocks.4.joins.4": (512, 1, 1),
            "fc": (10,),
        },
        "arXiv:1605.07648, section 4: widths of the five blocks, each halved by pooling, 32x32 to 1x1",
    ),
]
