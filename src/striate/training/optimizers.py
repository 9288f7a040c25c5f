"""The optimiser of a recipe, over layer groups. All arithmetic is PyTorch's own, but for Muon's."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from striate.errors import InputError
from striate.training.frozen.layer_groups import LayerGroup
from striate.training.muon import Muon
from striate.training.recipe import OptimizerConfig

LBFGS_EVALUATIONS = 20
LBFGS_HISTORY = 10


def build_optimizer(
    config: OptimizerConfig,
    groups: tuple[LayerGroup, ...],
    *,
    layer_rate_factor: float = 1.0,
    use_fused: bool = True,
) -> Optimizer:
    """The optimiser over every parameter of the groups, frozen ones included: those without a gradient are passed
    over.

    The last group has the full rate, each earlier one `layer_rate_factor` times that of the next. Decay reaches
    weights only: matrices and filters, not biases, norms or other vectors. `momentum` is that of momentum, nesterov
    and rmsprop, muon's for all parameters, and the first moment's decay (beta 1) of adam and adamw; sgd, adagrad and
    lbfgs have none. Muon's orthogonal updates reach the matrices and filter banks before the head, grouped convolutions
    aside. `use_fused` takes PyTorch's single-kernel steps where they exist; they do not go with 16-bit loss scaling.
    Each parameter group keeps its peak rate as "peak_rate". InputError for what L-BFGS cannot do.
    """
    if config.name == "lbfgs":
        return _build_lbfgs(config, groups, layer_rate_factor)
    param_groups = _param_groups(config, groups, layer_rate_factor)
    faster = {"fused": True} if use_fused else {"foreach": True}
    match config.name:
        case "sgd":
            return torch.optim.SGD(param_groups, lr=config.learning_rate, **faster)
        case "momentum":
            return torch.optim.SGD(param_groups, lr=config.learning_rate, momentum=config.momentum, **faster)
        case "nesterov":
            has_momentum = config.momentum > 0  # torch refuses nesterov without any
            return torch.optim.SGD(
                param_groups, lr=config.learning_rate, momentum=config.momentum, nesterov=has_momentum, **faster
            )
        case "adagrad":
            return torch.optim.Adagrad(param_groups, lr=config.learning_rate, foreach=True)
        case "rmsprop":
            return torch.optim.RMSprop(param_groups, lr=config.learning_rate, momentum=config.momentum, foreach=True)
        case "adam":
            return torch.optim.Adam(param_groups, lr=config.learning_rate, betas=(config.momentum, 0.999), **faster)
        case "adamw":
            return torch.optim.AdamW(param_groups, lr=config.learning_rate, betas=(config.momentum, 0.999), **faster)
        case "muon":
            return Muon(
                param_groups,
                lr=config.learning_rate,
                momentum=config.momentum,
                use_unit_filters=config.use_unit_filters,
                use_fused=use_fused,
            )


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Every group's learning rate becomes its peak rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_rate"] * factor


def start_momentum(optimizer: Optimizer) -> None:
    """Give parameters that are trained from now on the momentum, zero, that they would get with their first gradient.

    PyTorch's fused SGD fails where only some parameters of a group have momentum already, as after unfreezing.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for param in group["params"]:
            if group["momentum"] > 0 and param.requires_grad and "momentum_buffer" not in optimizer.state[param]:
                optimizer.state[param]["momentum_buffer"] = torch.zeros_like(param)


def split_by_decay(params: tuple[nn.Parameter, ...]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Those that weight decay reaches (matrices, filters) and the others (biases, norms and other vectors)."""
    return [param for param in params if param.ndim > 1], [param for param in params if param.ndim <= 1]


def norm_params(module: nn.Module) -> list[nn.Parameter]:
    """The shifts and scales of all norms in a module."""
    norms = (part for part in module.modules() if isinstance(part, _NormBase | nn.LayerNorm | nn.GroupNorm))
    return [param for norm in norms for param in norm.parameters(recurse=False)]


def _param_groups(
    config: OptimizerConfig, groups: tuple[LayerGroup, ...], layer_rate_factor: float
) -> list[dict[str, Any]]:
    """One dictionary for each setting that occurs, one of the head first: each costs time at every step."""
    by_setting: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for distance, group in enumerate(reversed(groups)):
        rate = config.learning_rate * layer_rate_factor**distance
        other_rate = rate * config.other_rate_factor
        in_norms = {id(param) for module in group.modules for param in norm_params(module)}
        whole_matrices = _whole_matrices(group) if config.name == "muon" and distance > 0 else set()
        decayed, others = split_by_decay(group.params)
        for params, setting in (
            ([p for p in decayed if id(p) in whole_matrices], (rate, config.weight_decay, True)),
            ([p for p in decayed if id(p) not in whole_matrices], (other_rate, config.weight_decay, False)),
            ([p for p in others if id(p) not in in_norms], (other_rate, 0.0, False)),
            ([p for p in others if id(p) in in_norms], (other_rate * config.norm_rate_factor, 0.0, False)),
        ):
            if params:
                by_setting.setdefault(setting, []).extend(params)
    return [
        {"params": params, "lr": rate, "peak_rate": rate, "weight_decay": weight_decay}
        | ({"is_orthogonal": is_orthogonal} if config.name == "muon" else {})
        for (rate, weight_decay, is_orthogonal), params in by_setting.items()
    ]


def _whole_matrices(group: LayerGroup) -> set[int]:
    """The ids of the weights that are one matrix each: not those of grouped convolutions, which are several."""
    in_parts = {
        id(module.weight)
        for layer in group.modules
        for module in layer.modules()
        if isinstance(module, _ConvNd) and module.groups > 1
    }
    return {id(param) for param in group.params if param.ndim > 1 and id(param) not in in_parts}


def _build_lbfgs(config: OptimizerConfig, groups: tuple[LayerGroup, ...], layer_rate_factor: float) -> Optimizer:
    """L-BFGS with a strong Wolfe line search; it knows one rate for everything and no decay."""
    if config.weight_decay > 0:
        raise InputError(
            f"lbfgs has no weight decay but {config.weight_decay:g} was asked for; set it to 0 or take adamw"
        )
    if config.norm_rate_factor != 1:
        raise InputError(
            f"lbfgs has one rate for all parameters but a norm rate factor of {config.norm_rate_factor:g} was asked "
            "for; set it to 1 or take adamw"
        )
    if layer_rate_factor != 1:
        raise InputError(
            f"lbfgs has one rate for all layers but a layer rate factor of {layer_rate_factor:g} was asked for; "
            "set it to 1 or take adamw"
        )
    params = [param for group in groups for param in group.params]
    optimizer = torch.optim.LBFGS(
        params,
        lr=config.learning_rate,
        max_iter=LBFGS_EVALUATIONS,
        history_size=LBFGS_HISTORY,
        line_search_fn="strong_wolfe",
    )
    optimizer.param_groups[0]["peak_rate"] = config.learning_rate
    return optimizer
