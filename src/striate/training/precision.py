"""Where 16-bit arithmetic is worth it."""

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers natively, not by way of float32; False where it does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)  # not in every version of PyTorch
    capabilities = ask() if ask is not None else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
