"""Descriptions of networks small enough to count on paper, and of modules that are awkward."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from striate.errors import InputError
from striate.inspection.layers import describe_network
from striate.networks.catalogue import build_network


def by_name(network: nn.Module, input_size: tuple[int, int, int]) -> dict[str, tuple[tuple[int, ...], int, int, int]]:
    """Shape, parameters, multiply-adds and bytes of each layer."""
    return {
        layer.name: (layer.output_shape, layer.num_params, layer.macs, layer.activation_bytes)
        for layer in describe_network(network, input_size).layers
    }


def test_a_small_network_on_paper() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    assert by_name(network, (2, 5, 5)) == {
        "0": ((4, 2, 2), 72, 16 * 18, 64),
        "1": ((4, 2, 2), 8, 0, 64),
        "2": ((4, 2, 2), 0, 0, 0),  # in place
        "3": ((16,), 0, 0, 0),  # a view
        "4": ((5,), 85, 80, 20),  # the bias is not counted
    }
    description = describe_network(network, (2, 5, 5))
    assert (description.kind, description.input_size) == ("Sequential", (2, 5, 5))
    assert (description.num_params, description.macs, description.activation_bytes) == (165, 368, 148)
    assert description.num_trainable_params == 165
    document = json.loads(json.dumps(description.to_json()))
    assert document["layers"][0].pop("energy_uj") == description.layers[0].energy_uj > 0
    assert document["layers"][0] == {
        "name": "0", "kind": "Conv2d", "output_shape": [4, 2, 2], "num_params": 72, "macs": 288, "activation_bytes": 64,
        "num_calls": 1, "inputs": ["(image)"],
        "receptive_field": {"size": [3, 3], "stride": [2, 2], "offset": [1.5, 1.5]},
    }  # fmt: skip
    assert document["calls"][0] == {
        "layer": "0", "inputs": [-1], "output_shape": [4, 2, 2], "macs": 288, "activation_bytes": 64
    }  # fmt: skip
    assert [call.inputs for call in description.calls] == [(-1,), (0,), (1,), (2,), (3,)]
    assert description.notices == ()


@pytest.mark.parametrize(
    ("layer", "input_size", "macs"),
    [
        (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5), 6 * 25 * 2 * 9),
        (nn.Conv2d(3, 2, 3, dilation=2), (3, 7, 7), 2 * 9 * 27),
        (nn.ConvTranspose2d(3, 5, 2, stride=2), (3, 4, 4), 3 * 16 * 5 * 4),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 4, 4), 4 * 16 * 3 * 9),
        (nn.Linear(6, 7), (2, 3, 6), 2 * 3 * 6 * 7),
        (nn.Conv1d(3, 4, 3), (1, 3, 10), None),
    ],
)
def test_macs_of_layers_on_paper(layer: nn.Module, input_size: tuple[int, int, int], macs: int | None) -> None:
    if macs is None:
        layer, macs = nn.Sequential(nn.Flatten(1, 2), layer), 4 * 8 * 9
    assert describe_network(layer, input_size).macs == macs


class Functional(nn.Module):
    """Weights used by functions only, as many people's networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(functional.conv2d(images, self.weight))
        features = self.relu(maps.flatten(2))  # (1, 4, 9)
        return torch.einsum("nip,njp->nij", features, features) @ torch.ones(4, 2, device=images.device)


def test_functions_are_rows_of_their_own() -> None:
    """Views are none; weights count for the function that uses them; what makes no picture but multiplies counts."""
    description = describe_network(Functional(), (3, 5, 5))
    rows = {layer.name: layer for layer in description.layers}
    assert list(rows) == [":convolution", "relu", ":bmm", ":mm"]
    convolution, relu = rows[":convolution"], rows["relu"]
    assert (convolution.kind, convolution.num_params, convolution.num_calls) == ("convolution", 108, 1)
    assert [layer.macs for layer in rows.values()] == [4 * 9 * 27, 0, 4 * 4 * 9, 4 * 4 * 2]
    assert (relu.num_calls, relu.output_shape) == (2, (4, 9))
    assert relu.activation_bytes == 2 * 4 * 9 * 4
    assert relu.inputs == (":convolution", "relu")
    assert [call.inputs for call in description.calls] == [(-1,), (0,), (1,), (2,), (3,)]
    assert description.macs == sum(layer.macs for layer in rows.values())


class Block(nn.Module):
    """A skip, two branches put together, a layer that hands through, one used twice, a scale of the block's own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, 1, 1))
        self.unused = nn.Parameter(torch.ones(5))
        self.conv, self.norm, self.relu, self.identity = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = self.identity(maps)
        maps = self.relu(self.norm(self.conv(maps))) * self.scale
        maps += shortcut
        maps = maps + maps
        return torch.cat([self.relu(maps), shortcut], dim=1).flatten(1)


def test_the_graph_follows_tensors() -> None:
    description = describe_network(nn.Sequential(nn.ReLU(), Block()), (2, 3, 3))
    inputs = {layer.name: layer.inputs for layer in description.layers}
    assert inputs == {
        "0": ("(image)",),
        "1.identity": ("0",),
        "1.conv": ("0",),
        "1.norm": ("1.conv",),
        "1.relu": ("1.norm", "1:add"),
        "1:mul": ("1.relu",),
        "1:add_": ("1.identity", "1:mul"),
        "1:add": ("1:add_",),
        "1:cat": ("1.identity", "1.relu"),
        "1": (),
    }
    rows = {layer.name: layer for layer in description.layers}
    assert (rows["1:mul"].num_params, rows["1"].num_params, rows["1"].kind) == (2, 5, "Block")
    assert (rows["1:add_"].activation_bytes, rows["1:add"].activation_bytes) == (0, 2 * 9 * 4)
    assert rows["1:cat"].activation_bytes == 4 * 9 * 4
    assert [call.layer for call in description.calls].count("1.relu") == 2
    assert all(place < number for number, call in enumerate(description.calls) for place in call.inputs)


class Attention(nn.Module):
    """Eight pixels attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)  # (1, 8, 6)
        attended: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return functional.scaled_dot_product_attention(attended, attended, attended)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_attention_is_counted_even_where_pytorch_fuses_it(is_frozen: bool) -> None:
    network = Attention().requires_grad_(not is_frozen)
    projections, products = 4 * 8 * 6 * 6, 2 * 8 * 8 * 6
    with torch.no_grad():
        description = describe_network(network, (6, 2, 4))
    assert description.macs == projections + 2 * products
    assert {layer.name: layer.num_params for layer in description.layers}["attention"] == 4 * 36 + 4 * 6
    with torch.inference_mode():
        assert describe_network(network, (6, 2, 4)).macs == projections + 2 * products


class LooksAtValues(nn.Module):
    """What cannot run without memory: a decision by a value."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3)
        self.dropout = nn.Dropout()

    def forward(self, images: Tensor) -> Tensor:
        chosen: Tensor = self.first(images) if images.sum().item() >= 0 else self.second(images)
        return self.dropout(chosen)


def test_a_network_that_looks_at_values_runs_itself_and_comes_back_unchanged() -> None:
    network = LooksAtValues()
    network.dropout.eval()
    layers = {layer.name: layer for layer in describe_network(network, (3, 4, 4)).layers}
    assert layers["first"].macs == 2 * 16 * 3
    assert layers["second"].num_calls == 0
    assert layers["second"].output_shape == ()
    assert layers["second"].num_params == 56
    assert [network.training, network.first.training, network.dropout.training] == [True, True, False]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(param.grad is None and param.requires_grad for param in network.parameters())


def test_the_module_comes_back_as_it_was() -> None:
    network = build_network("resnet20_cifar", seed=0)
    network.layer1.eval()
    seen: list[str] = []
    handle = network.fc.register_forward_hook(lambda *_: seen.append("ran"))
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    seen.clear()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    grads = [param.grad.clone() for param in network.parameters() if param.grad is not None]
    describe_network(network, (3, 32, 32))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(a, b.grad) for a, b in zip(grads, network.parameters(), strict=True) if b.grad is not None)
    assert len(grads) == len(list(network.parameters()))
    assert [len(module._forward_hooks) for module in network.modules()].count(1) == 1
    handle.remove()


def test_shared_weights_are_counted_once() -> None:
    first, second = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
    second.weight = first.weight
    description = describe_network(nn.Sequential(first, second, first), (3, 2, 2))
    assert description.num_params == 9
    assert [(layer.num_params, layer.num_calls, layer.macs) for layer in description.layers] == [(9, 2, 72), (0, 1, 36)]


def test_half_precision_and_frozen_weights() -> None:
    network = nn.Conv2d(1, 2, 1).half().requires_grad_(False)
    description = describe_network(network, (1, 4, 4))
    assert description.activation_bytes == 2 * 16 * 2
    assert (description.num_params, description.num_trainable_params) == (4, 0)


def test_layers_that_are_never_called_stand_at_the_end() -> None:
    layers = describe_network(LooksAtValues(), (3, 4, 4)).layers
    assert [(layer.name, layer.num_calls) for layer in layers] == [
        (":sum", 1), ("first", 1), ("dropout", 1), ("second", 0),
    ]  # fmt: skip


def test_networks_built_on_the_meta_device_and_none_with_weights() -> None:
    assert describe_network(build_network("alexnet", device="meta"), (3, 63, 80)).layers[0].output_shape == (64, 15, 19)
    assert describe_network(nn.MaxPool2d(2), (3, 4, 4)).activation_bytes == 48


def test_a_compiled_network_is_looked_through() -> None:
    network = nn.Conv2d(3, 2, 1)
    assert describe_network(torch.compile(network), (3, 4, 4)) == describe_network(network, (3, 4, 4))


@pytest.mark.parametrize(
    ("network", "input_size", "message"),
    [
        (nn.Conv2d(3, 2, 5), (3, 4, 4), r"Conv2d cannot take an image of 3x4x4: .*Kernel size can't be greater"),
        (nn.Linear(7, 2), (3, 4, 4), "Linear cannot take an image of 3x4x4: "),
        (nn.ReLU(), (3, 0, 4), r"an input size is \(channels, height, width\), each at least 1, but is \(3, 0, 4\)"),
        (nn.ReLU(), (4, 4), r"an input size is .* but is \(4, 4\)"),
        (nn.LazyConv2d(2, 3), (3, 4, 4), "LazyConv2d has lazy layers without shapes; run one batch through it first"),
    ],
)
def test_what_cannot_be_is_refused(network: nn.Module, input_size: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        describe_network(network, input_size)
    assert "\n" not in str(caught.value)
    assert network.training


def test_a_catalogue_network_says_itself_what_it_needs() -> None:
    with pytest.raises(InputError, match="alexnet needs images of at least 63x63 pixels but got 32x32"):
        describe_network(build_network("alexnet", device="meta"), (3, 32, 32))


def test_a_size_that_is_too_small_names_one_that_works() -> None:
    """For modules that do not check themselves; found by trying."""
    network = nn.Sequential(nn.Conv2d(3, 2, 7, stride=2), nn.MaxPool2d(5), nn.Conv2d(2, 2, 3))
    message = "Sequential cannot take an image of 3x20x64: .*; the smallest square found to work is 3x35x35"
    with pytest.raises(InputError, match=message):
        describe_network(network, (3, 20, 64))
    describe_network(network, (3, 35, 35))


class Scripted(nn.Module):
    """A part that takes no hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()))
        self.last = nn.Conv2d(2, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.last(self.part(images))
        return maps


class Batched(nn.Module):
    """A part that runs inside of torch.func."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = torch.func.vmap(lambda image: self.conv(image[None])[0])(images)
        return maps


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_cannot_be_looked_into_is_described_by_what_ran() -> None:
    scripted = describe_network(Scripted(), (3, 6, 6))
    assert [(layer.name, layer.macs) for layer in scripted.layers] == [
        (":convolution", 16 * 54), (":relu", 0), ("last", 16 * 4),
    ]  # fmt: skip
    assert scripted.num_params == sum(layer.num_params for layer in scripted.layers)
    batched = describe_network(Batched(), (3, 6, 6))
    assert (batched.macs, batched.layers[0].receptive_field) == (16 * 54, None)
    assert len(batched.notices) == 1


def test_operators_that_are_not_pytorchs_are_named() -> None:
    with torch.library._scoped_library("striate_test", "DEF") as library:
        library.define("twice(Tensor maps) -> Tensor")
        library.impl("twice", lambda maps: maps * 2, "CompositeExplicitAutograd")

        class Foreign(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                twice: Tensor = torch.ops.striate_test.twice(images)
                return twice

        description = describe_network(Foreign(), (3, 4, 4))
    assert description.layers[0].name == ":twice"
    assert description.notices == (
        "multiply-adds of an operator that is not known are not counted, in (network): striate_test::twice",
        "receptive fields are unknown from (network) on: the operator striate_test.twice is not known",
    )


@pytest.mark.parametrize(
    "network", [nn.Identity(), nn.Dropout(0.5), nn.Sequential(), nn.Sequential(nn.Identity(), nn.Dropout())]
)
def test_networks_that_hand_the_image_through(network):
    described = describe_network(network, (3, 8, 8))
    assert (described.num_params, described.macs, described.notices) == (0, 0, ())
    assert described.layers[-1].output_shape == (3, 8, 8)
    assert described.layers[-1].receptive_field.size == (1, 1)


def test_a_compiled_part_is_described_as_it_was_written():
    part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    plain = describe_network(nn.Sequential(nn.Conv2d(3, 3, 1), part), (3, 8, 8))
    compiled = describe_network(nn.Sequential(nn.Conv2d(3, 3, 1), torch.compile(part)), (3, 8, 8))
    assert compiled.macs == plain.macs == 3 * 3 * 64 + 4 * 27 * 36
    assert compiled.notices == ()


class InAThread(nn.Module):
    """Two convolutions added up, one of them computed by another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.here, self.there = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            there = pool.submit(self.there, images)
            return self.here(images) + there.result()


def test_work_of_another_thread_is_announced():
    described = describe_network(InAThread(), (3, 8, 8))
    assert any(line.startswith("there runs in a thread of its own: its multiply-adds") for line in described.notices)
    fields = {layer.name: layer.receptive_field for layer in described.layers}
    assert fields["here"].size == (3, 3)
    assert fields[":add"] is fields["there"] is None


class MaskedAttention(nn.Module):
    """Self-attention over pixels, by PyTorch's own or by a mask of one's own."""

    def __init__(self, mask: str) -> None:
        super().__init__()
        self.mask = mask
        if mask == "buffer":
            self.register_buffer("seen", torch.ones(16, 16).tril())
        if mask == "infinity":
            self.register_buffer("added", torch.full((16, 16), -torch.inf).triu(1))

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(2).transpose(1, 2)
        if self.mask in ("causal", "none"):
            return functional.scaled_dot_product_attention(rows, rows, rows, is_causal=self.mask == "causal")
        scores = rows @ rows.transpose(1, 2)
        if self.mask == "made":
            scores = scores.masked_fill(torch.ones(16, 16, device=images.device).triu(1) == 1, -torch.inf)
        scores = scores * self.seen if self.mask == "buffer" else scores
        scores = scores + self.added if self.mask == "infinity" else scores
        return scores.softmax(-1) @ rows


@pytest.mark.parametrize("mask", ["causal", "made", "buffer", "infinity", "none"])
def test_masked_attention_is_announced(mask):
    lines = [line for line in describe_network(MaskedAttention(mask), (3, 4, 4)).notices if "masks by values" in line]
    assert len(lines) == (mask != "none")


def test_distances_are_announced():
    class Distances(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cdist(images.flatten(2), images.flatten(2))

    described = describe_network(Distances(), (3, 4, 4))
    assert any("not counted, in (network): aten::_cdist_forward" in line for line in described.notices)


def test_energy_by_hand() -> None:
    """A dense layer 4 -> 2: 8 multiply-adds of 4.6 pJ, 10 weights of 4 bytes from DRAM, 2 outputs of 4 bytes there and
    back.
    """
    description = describe_network(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), measure_memory=False)
    expected = (8 * 4.6 + 40 * 1300 / 8 + 2 * 8 * 10 / 8) / 1e6
    assert description.energy_uj == pytest.approx(expected)
    document = description.to_json()
    assert document["energy_uj"] == pytest.approx(expected)
    assert sum(row["energy_uj"] for row in document["layers"]) == pytest.approx(expected)
