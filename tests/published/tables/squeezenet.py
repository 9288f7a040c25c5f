"""SqueezeNets with bypasses: Iandola et al. 2016 (arXiv:1602.07360), section 6."""

PARAMS = [
    ("squeezenet1_0_simple_bypass", 1_248_424, "as squeezenet1_0; arXiv:1602.07360, Table 3: the same size"),
    (
        "squeezenet1_0_complex_bypass",
        1_589_672,
        "squeezenet1_0 and, by hand, 97*128 + 129*256 + 257*384 + 385*512; Table 3 prints 7.7 MB, which is more",
    ),
]
