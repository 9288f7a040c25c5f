"""Weights, gradients and the optimiser's memory shared out over the processes, for networks that do not fit one device.

This is FSDP as PyTorch's `fully_shard` does it: each process keeps its rows of every tensor, and whole layers come
together only while they compute. Everything that leaves a run, checkpoints and model files, holds whole tensors.
PyTorch's parts are imported where they are used: they take a second, which other runs need not wait for.
"""

from collections.abc import Mapping

from lightning_fabric import Fabric
from torch import Tensor, distributed, nn

from striate.errors import InputError
from striate.training.recipe import Recipe


class InPrecision(nn.Module):
    """The network computing in the precision of the fabric, as Fabric's own wrapper would have it."""

    def __init__(self, network: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.network = network
        self.fabric = fabric

    def forward(self, images: Tensor) -> object:
        with self.fabric.autocast():
            return self.network(images)


def check_sharding(recipe: Recipe, world_size: int) -> None:
    """Raise InputError where the weights of such a run cannot be shared out."""
    if world_size == 1:
        raise InputError("weights are shared out over several processes but there is one; add --devices N")
    reasons = {
        "gradual unfreezing or a frozen base": recipe.freeze != "nothing",
        "a moving average of the weights": recipe.ema_decay > 0,
        "16-bit loss scaling": recipe.precision == "16-mixed",
    }
    if wrong := [reason for reason, is_so in reasons.items() if is_so]:
        raise InputError(
            f"shared-out weights do not go with {' or '.join(wrong)}; "
            "use --train all, --ema-decay 0 and --precision float32 or bfloat16, or leave --shard-weights out"
        )


def shard_weights(network: nn.Module, fabric: Fabric) -> None:
    """Share out the network's parameters, in place, block by block; every process must hold the same ones."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(fabric.device.type, (fabric.world_size,))
    for module in reversed(_blocks(network)):  # inner ones first
        fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)


def is_sharded(network: nn.Module) -> bool:
    """Whether `shard_weights` has been at it."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(network, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """The tensor with the rows of all processes, which come here together; others as they are."""
    if type(tensor) in (Tensor, nn.Parameter):
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def all_whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same of many, in their order."""
    return {name: whole(tensor) for name, tensor in tensors.items()}


def laid_out_like(param: Tensor, value: Tensor) -> Tensor:
    """A whole tensor, which every process has, shared out as `param` is."""
    if type(param) in (Tensor, nn.Parameter):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(param, DTensor) and not isinstance(value, DTensor):
        return distribute_tensor(value.to(param.device), param.device_mesh, param.placements, src_data_rank=None)
    return value


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks that FSDP gathers at a time: the network's children, and those of lists of layers, that have
    parameters.
    """
    blocks: list[nn.Module] = []
    for parent in network.modules():
        if parent is network or isinstance(parent, nn.Sequential | nn.ModuleList):
            for child in parent.children():
                has_params = any(True for _ in child.parameters())
                if has_params and not isinstance(child, nn.ModuleList) and not any(child is block for block in blocks):
                    blocks.append(child)
    return blocks
