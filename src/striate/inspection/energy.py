"""What an answer costs in energy: an estimate from the 45 nm table of Horowitz 2014 (doi:10.1109/ISSCC.2014.6757323,
figure 1.1.9).

Counted are the multiply-adds, each weight read once from DRAM, and each activation written to and read from a small
SRAM once. Real processors add caches, control and leakage: the figures compare networks, and are no measurement.
"""

MULTIPLY_PJ = {"float32": 3.7, "float16": 1.1, "int8": 0.2, "int32": 3.1}
ADD_PJ = {"float32": 0.9, "float16": 0.4, "int8": 0.03, "int32": 0.1}
"""One operation, in picojoules."""
SRAM_PJ_PER_BYTE = 10 / 8
"""A cache of 8 kB: 10 pJ for 64 bits."""
DRAM_PJ_PER_BYTE = 1300 / 8
"""1.3 nJ for 64 bits, the lower of the two figures that the table gives."""


def mac_pj(precision: str = "float32") -> float:
    """One multiply-add in picojoules; int8 products are added up in 32 bits."""
    return MULTIPLY_PJ[precision] + ADD_PJ["int32" if precision == "int8" else precision]


def energy_uj(macs: float, weight_bytes: float, activation_bytes: float, *, precision: str = "float32") -> float:
    """Microjoules for one image: multiply-adds, weights from DRAM once, activations to SRAM and back."""
    picojoules = macs * mac_pj(precision) + weight_bytes * DRAM_PJ_PER_BYTE + 2 * activation_bytes * SRAM_PJ_PER_BYTE
    return picojoules / 1e6
