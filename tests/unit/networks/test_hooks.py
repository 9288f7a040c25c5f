"""Recording and changing what happens inside a network, on networks small enough to do on paper and on those of the
field.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import striate
from striate.errors import InputError
from striate.networks.hooks import changing_activations, input_of, module_hooks, output_at, recording, replacing


class Functional(nn.Module):
    """Every kind of activation: a function, one module used twice, in place as module, function and method, an
    operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.in_place = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)
        for conv in (self.conv, self.again):
            nn.init.uniform_(conv.weight, -0.2, 0.4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.conv(images))
        maps = self.relu(self.again(maps) - 0.1)
        maps = self.in_place(self.again(maps) - 0.1)
        maps = F.relu(self.again(maps) - 0.1, inplace=True)
        maps = self.again(maps) - 0.1
        maps += 0.05
        maps.relu_()  # what it gives is ignored
        maps = F.relu(maps - 0.01)
        return self.fc(maps.mean(dim=(2, 3)))


class Ignored(nn.Module):
    """Works in place and ignores what its activation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        maps = images * 2
        self.relu(maps)
        return maps + 1


def places_of(network: nn.Module, input_size: tuple[int, int, int]) -> list[str]:
    """The names that `describe` prints for one call each, views and uncalled layers aside."""
    described = striate.describe(network, input_size=input_size)
    return [layer.name for layer in described.layers if layer.num_calls == 1]


def state_of(network: nn.Module) -> tuple[object, ...]:
    """What a tool must leave as it found it."""
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules()]
    grads = [param.grad for param in network.parameters()]
    return (
        hooks,
        [module.training for module in network.modules()],
        grads,
        torch.overrides._get_current_function_mode_stack(),
    )


@pytest.fixture
def network() -> nn.Module:
    return Functional()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 1, 6, 6)


def test_functions_have_the_names_that_describe_prints(network: nn.Module, images: Tensor) -> None:
    names = places_of(network, (1, 6, 6))
    assert names == [
        "conv", ":sub", ":sub.2", "in_place", ":sub.3", ":relu_", ":sub.4", ":add_", ":relu_.2", ":sub.5", ":relu",
        ":mean", "fc",
    ]  # fmt: skip
    with recording(network, *names) as seen:
        logits = network(images)
    assert torch.equal(seen["fc"], logits)
    assert torch.equal(seen[":relu_.2"], seen[":add_"].relu()), "an output is kept as it was"
    assert torch.equal(seen[":add_"], seen[":sub.4"] + 0.05)
    assert torch.equal(seen["in_place"], seen[":sub.2"].relu())


CATALOGUE = {"resnet18": 64, "googlenet": 64, "densenet121": 64, "shufflenet_v2_x0_5": 64, "squeezenet1_1": 64,
"lenet5_1998": 32,
             "mobilenet_v3_small": 64, "resnet20_cifar": 32, "airbench94_cifar": 32, "neocognitron": 16,
             "tdnn": 16}  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_place_of_a_network_can_be_recorded(name: str) -> None:
    channels = 1 if name in ("lenet5_1998", "neocognitron", "tdnn") else 3
    size = (channels, CATALOGUE[name], 15 if name == "tdnn" else CATALOGUE[name])
    network = striate.build_network(name, num_classes=5, in_channels=channels, seed=0).eval()
    images = torch.rand(2, *size)
    described = striate.describe(network, input_size=size)
    shapes = {layer.name: layer.output_shape for layer in described.layers if layer.num_calls == 1}
    before = network(images)
    with recording(network, *shapes) as seen:
        logits = network(images)
    assert torch.equal(logits, before)
    assert {place: tuple(output.shape[1:]) for place, output in seen.items()} == shapes


@pytest.mark.parametrize(
    "build", [torchvision.models.resnet18, torchvision.models.googlenet, torchvision.models.densenet121]
)
def test_gradients_at_a_place_are_those_of_autograd(build: Callable[..., nn.Module]) -> None:
    """torchvision's networks work in place nearly everywhere. Against how the score changes when an activation
    does: zeros, where pools have ties, stay zeros.
    """
    options = {"init_weights": False} if build is torchvision.models.googlenet else {}
    network = build(num_classes=4, **options).eval().double()
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    names = places_of(network, (3, 64, 64))
    chosen = [name for name in names if "relu" in name or ":" in name][::7] or names[::7]
    with recording(network, *chosen) as seen:
        score = network(images)[0, 1]
    gradients = torch.autograd.grad(score, list(seen.values()))
    for name, gradient in zip(chosen, gradients, strict=True):
        direction = torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        step = 1e-7 * seen[name].detach().abs().mean()

        def moved(sign: float, name: str = name, by: Tensor = step * direction) -> Tensor:
            with replacing(network, {name: lambda output: output + sign * by * (output > 0)}), torch.no_grad():
                return network(images)[0, 1]

        slope = (moved(1) - moved(-1)) / (2 * step)
        assert torch.isclose((gradient * direction * (seen[name] > 0)).sum(), slope, rtol=1e-3, atol=1e-9), name


def test_a_call_of_a_reused_module_is_named_by_its_number(network: nn.Module, images: Tensor) -> None:
    with recording(network, "relu#1", "relu#2", "again") as seen:
        network(images)
    assert not torch.equal(seen["relu#1"], seen["relu#2"])
    with pytest.raises(InputError, match=r"again ran 4 times; name one call: again#1 to again#4"):
        seen["again"]


def test_a_recording_is_of_the_last_pass(network: nn.Module, images: Tensor) -> None:
    with recording(network, ":relu", "conv") as seen:
        network(images)
        network(images[:1])
    assert seen[":relu"].shape[0] == seen["conv"].shape[0] == 1


@pytest.mark.parametrize("name", ["conv", "relu#2", "in_place", ":relu_", ":relu_.2", ":add_", ":relu"])
def test_what_replaces_an_output_is_what_the_network_goes_on_with(
    network: nn.Module, images: Tensor, name: str
) -> None:
    before = network(images)
    with replacing(network, {name: torch.zeros_like}):
        zeroed = network(images)
    assert not torch.allclose(zeroed, before)
    assert torch.allclose(zeroed[0], zeroed[1], atol=1e-6), "nothing of the image comes through"
    assert torch.equal(network(images), before)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_in_place_modules_whose_output_is_ignored_are_changed_too(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    with mode():
        images = torch.tensor([[-1.0, 2.0]])
        with (
            replacing(Ignored(), {"relu": lambda output: output * 10}) as _,
            recording(found := Ignored(), "relu") as seen,
        ):
            assert found(images).tolist() == [[1.0, 5.0]]
        assert seen["relu"].tolist() == [[0.0, 4.0]]
        with replacing(network := Ignored(), {"relu": lambda output: output * 10}):
            assert network(images).tolist() == [[1.0, 41.0]]


def test_gradients_flow_through_what_is_replaced_in_place(images: Tensor) -> None:
    network = Functional()
    images.requires_grad_()
    with replacing(network, {":relu_.2": lambda output: output * 2, "in_place": lambda output: output * 3}):
        (gradient,) = torch.autograd.grad(network(images).sum(), images)
    assert gradient.abs().sum() > 0


def test_output_at_runs_nothing_behind(network: nn.Module, images: Tensor) -> None:
    ran: list[str] = []
    network.fc.register_forward_hook(lambda *_: ran.append("fc"))
    with recording(network, ":sub") as seen:
        network(images)
    ran.clear()
    assert torch.equal(output_at(network, images, ":sub"), seen[":sub"])
    assert not ran


def test_input_of_is_what_a_module_is_given(network: nn.Module, images: Tensor) -> None:
    with recording(network, ":mean") as seen:
        network(images)
    assert torch.equal(input_of(network, images, "fc"), seen[":mean"])


def guided(activation: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Guided backpropagation: what is negative of the gradient that comes in stops here."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
            outputs = activation(values)
            ctx.save_for_backward(outputs > 0)  # type: ignore[attr-defined]
            return outputs

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
            (is_open,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return grads[0].clamp(min=0) * is_open

    outputs: Tensor = Rule.apply(inputs)
    return outputs


def test_a_rule_changes_every_activation_however_it_is_written(network: nn.Module, images: Tensor) -> None:
    logits = network(images)
    images.requires_grad_()
    with changing_activations(network, guided) as seen:
        changed = network(images)
        (gradient,) = torch.autograd.grad(changed[:, 0].sum(), images)
    assert seen == ["relu:relu", "relu:relu", "in_place:relu", ":relu", ":relu_", ":relu"]
    assert torch.equal(changed, logits)
    (plain,) = torch.autograd.grad(network(images)[:, 0].sum(), images)
    assert not torch.allclose(gradient, plain)


@pytest.mark.parametrize(
    ("activation", "is_rectifier"),
    [
        (nn.ReLU6(), True), (nn.Hardtanh(), False), (nn.SiLU(), True), (nn.Sigmoid(), False),
        (nn.LeakyReLU(inplace=True), True),
        (nn.GELU(), True), (nn.PReLU(), True), (nn.Hardsigmoid(), False),
    ],
)  # fmt: skip
def test_which_activations_are_rectifiers(activation: nn.Module, is_rectifier: bool) -> None:
    with changing_activations(nn.Sequential(activation), lambda function, inputs: function(inputs)) as seen:
        nn.Sequential(activation)(torch.rand(2, 3))
    with changing_activations(
        network := nn.Sequential(activation), lambda function, inputs: function(inputs) + 100
    ) as seen:
        outputs = network(torch.rand(2, 3))
    assert (len(seen) == 1) == is_rectifier == bool((outputs > 50).all())


TOOLS: dict[str, Callable[[nn.Module], AbstractContextManager[object]]] = {
    "recording": lambda network: recording(network, "conv", ":sub"),
    "replacing": lambda network: replacing(network, {"conv": torch.relu, ":sub": torch.relu}),
    "changing": lambda network: changing_activations(network, guided),
    "hooks": lambda network: module_hooks(network, lambda *_: None, lambda *_: None),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_everything_is_restored_also_after_an_error(network: nn.Module, images: Tensor, tool: str) -> None:
    before = state_of(network)
    with TOOLS[tool](network):
        network(images)
    assert state_of(network) == before
    with pytest.raises(RuntimeError), TOOLS[tool](network):
        network(torch.rand(2, 3, 6, 6))
    assert state_of(network) == before
    output_at(network, images, ":sub.2")
    input_of(network, images, "in_place")
    assert state_of(network) == before


def test_after_an_error_inside_the_next_pass_is_whole(network: nn.Module, images: Tensor) -> None:
    with recording(network, ":relu", "relu#2") as seen:
        with pytest.raises(RuntimeError):
            network(torch.rand(2, 3, 6, 6))
        network(images)
    assert seen["relu#2"].shape == (2, 4, 6, 6)


def test_module_hooks_see_every_module_in_order(network: nn.Module, images: Tensor) -> None:
    events: list[str] = []
    with module_hooks(
        network,
        lambda name, _: events.append(f"+{name}"),
        lambda name, *_: events.append(f"-{name}"),
        include_root=True,
    ):
        network(images)
    assert events[:4] == ["+", "+conv", "-conv", "+relu"]
    assert events[-1] == "-"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cnv", "Functional has no layer called 'cnv'; did you mean conv?"),
        ("conv#x", "Functional has no layer called 'conv#x'"),
        ("", "Functional has no layer called ''; striate describe lists its layers"),
        (":sub.9", "no function called ':sub.9' ran in the network; did you mean :sub.5"),
        ("conv:convolution", "no function called 'conv:convolution.2' ran"),
    ],
)
def test_unknown_places_are_refused_by_name(network: nn.Module, images: Tensor, name: str, message: str) -> None:
    wanted = "conv:convolution.2" if name.startswith("conv:") else name
    with pytest.raises(InputError) as caught, recording(network, wanted):
        network(images)
    assert message in str(caught.value)


def test_a_layer_that_did_not_run_says_so(images: Tensor) -> None:
    network = Functional()
    network.spare = nn.ReLU()
    with recording(network, "spare") as seen:
        network(images)
    with pytest.raises(InputError, match="spare did not run in this forward pass"):
        seen["spare"]
    with pytest.raises(InputError, match="spare does not run in a forward pass of Functional"):
        output_at(network, images, "spare")


def test_an_output_that_is_no_tensor_is_refused(images: Tensor) -> None:
    class Pair(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images, images

    with pytest.raises(InputError, match="0 gives tuple and not one tensor; name a layer inside it"):
        output_at(nn.Sequential(Pair()), images, "0")


def test_a_step_inside_of_a_function_is_refused() -> None:
    class Normal(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return F.normalize(images, dim=1)

    network, images = nn.Sequential(Normal(), nn.ReLU()), torch.rand(2, 3)
    with recording(network, "0:div") as seen:
        network(images)
    assert torch.equal(seen["0:div"], F.normalize(images, dim=1))
    with pytest.raises(InputError, match="is a step inside of normalize and cannot be recorded or changed alone"):
        output_at(network, images, "0:linalg_vector_norm")


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_torchscript_is_refused_by_name(images: Tensor) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), torch.jit.trace(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.rand(1, 2, 4, 4))
    )
    for use in (
        lambda: output_at(network, images, ":add"),
        lambda: output_at(network, images, "1.0"),
        lambda: changing_activations(network, guided).__enter__(),
    ):
        with pytest.raises(InputError, match="1 is TorchScript, whose layers and functions cannot be seen"):
            use()
    assert output_at(network, images, "0").shape == (2, 2, 4, 4)
    assert output_at(network, images, "1").shape == (2, 32)


def test_compiled_parts_run_as_they_were_written(images: Tensor) -> None:
    network = Functional()
    before = network(images)
    network.compile(backend="eager")
    with recording(network, ":relu", "conv") as seen:
        assert torch.equal(network(images), before)
    assert seen[":relu"].shape == (2, 4, 6, 6)


def numbers(tensor: Tensor) -> Iterator[float]:
    yield from tensor.flatten().tolist()


def test_constants_beside_the_image_have_no_names() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, images: Tensor) -> Tensor:
            shift = self.weight + torch.arange(3)
            return (images + torch.zeros_like(images) + shift) * 2

    assert places_of(nn.Sequential(Shifted(), nn.Identity()), (3, 2, 3))
    network = Shifted()
    names = [layer.name for layer in striate.describe(nn.Sequential(network, nn.ReLU()), input_size=(1, 2, 3)).layers]
    assert names == ["0", "1"], "a module of functions alone is one layer"
    assert list(numbers(output_at(network, torch.zeros(1, 1, 1, 3), ":add"))) == [0, 0, 0]
    assert list(numbers(output_at(network, torch.zeros(1, 1, 1, 3), ":add.2"))) == [1, 2, 3]
