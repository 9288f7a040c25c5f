"""Multiply-adds of operators that are seldom met: counted, or named as not counted."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.inspection.check_network import check_network
from striate.inspection.layers import describe_network


class Fn(nn.Module):
    """A function of the images and of one weight."""

    def __init__(self, function, weight: torch.Tensor) -> None:
        super().__init__()
        self.function, self.w = function, nn.Parameter(weight)

    def forward(self, images):
        return self.function(self, images)


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(12, 20, batch_first=True), nn.Linear(20, 4)

    def forward(self, images):
        if images.max() > 1e9:  # a look at a value: it runs itself, in one call of oneDNN's
            images = images * 2
        return self.head(self.rnn(images.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Bilinear(12, 12, 5)

    def forward(self, images):
        return self.both(images.flatten(1), images.flatten(1))


def rows(images):
    return images.flatten(0, 1)


@pytest.mark.parametrize(
    ("network", "size", "macs"),
    [
        (Lstm(), (3, 6, 4), 6 * 4 * 20 * (12 + 20) + 80),
        (Bilinear(), (3, 2, 2), 12 * 12 * 5),
        (Fn(lambda s, x: torch.addbmm(s.w, rows(x), rows(x).transpose(1, 2))[None], torch.ones(6, 6)), (3, 6, 4),
        3 * 6 * 4 * 6),
        (Fn(lambda s, x: torch.conv_tbc(x[:, 0].transpose(0, 1).reshape(6, 1, 4), s.w, torch.zeros(7), 1),
        torch.ones(3, 4, 7)),
         (3, 6, 4), 6 * 7 * 3 * 4),
        (Fn(lambda s, x: torch.vdot(x.flatten(), s.w)[None], torch.ones(72)), (3, 6, 4), 72),
    ],
    ids=["lstm", "bilinear", "addbmm", "conv_tbc", "vdot"],
)  # fmt: skip
def test_products_of_rare_kinds_are_counted(network, size, macs):
    described = describe_network(network, size, measure_memory=False)
    assert described.macs == macs
    assert not any("multiply-adds" in notice for notice in described.notices)


@pytest.mark.parametrize(
    "function",
    [
        lambda s, x: torch.cdist(x[:, 0], s.w),
        lambda s, x: torch.linalg.solve(s.w @ s.w + 9 * torch.eye(4), x[0, 0].mT)[None],
        lambda s, x: torch.fft.fft2(x * s.w[0, 0]).real,
        lambda s, x: torch.sparse.mm(torch.eye(6).to_sparse(), x[0, 0] @ s.w)[None],
    ],
    ids=["cdist", "solve", "fft", "sparse"],
)
def test_what_is_not_counted_is_said(function):
    described = describe_network(Fn(function, torch.ones(4, 4)), (1, 6, 4), measure_memory=False)
    assert any("multiply-adds of this operator are not counted" in notice for notice in described.notices)


def test_usual_layers_need_no_notice():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.GroupNorm(2, 8), nn.MaxPool2d(2), nn.Dropout(),
        nn.Upsample(scale_factor=2),        nn.LocalResponseNorm(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LayerNorm(8),
        nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)),
    )  # fmt: skip
    assert describe_network(network, (3, 16, 16), measure_memory=False).notices == ()


class Cond(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return torch.cond(images.sum() > 0, lambda x: self.a(x), lambda x: self.b(x), (images,))


def test_a_higher_order_operator_is_named_and_no_other_size_advised():
    with pytest.raises(InputError, match=r"^Cond holds a higher-order operator") as caught:
        describe_network(Cond(), (3, 16, 16), measure_memory=False)
    assert "smallest" not in str(caught.value)


def tail():
    return nn.AdaptiveAvgPool2d(1), nn.Flatten()


@pytest.mark.parametrize(
    ("last", "words"),
    [(nn.Softmax(1), "it answers probabilities"), (nn.LogSoftmax(1), "it answers logarithms of probabilities")],
)
def test_probabilities_are_no_logits(last, words):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), *tail(), nn.Linear(8, 5), last)
    first = check_network(network, (3, 16, 16), use_export=False)[0]
    assert (first.name, first.passed) == ("logits", False)
    assert first.detail.startswith(words)


def test_lazy_layers_fail_with_what_to_do():
    network = nn.Sequential(nn.LazyConv2d(4, 3), *tail(), nn.LazyLinear(3))
    (only,) = check_network(network, (3, 16, 16), use_export=False)
    assert (only.name, only.passed) == ("logits", False)
    assert only.detail == "Sequential has lazy layers without shapes; run one batch through it first"
    with torch.no_grad():
        network(torch.zeros(2, 3, 16, 16))
    assert all(check.passed for check in check_network(network, (3, 16, 16), use_export=False))
