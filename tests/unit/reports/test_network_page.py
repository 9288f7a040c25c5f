"""The page about a network: complete, self-contained, and safe whatever a layer is called."""

import html
import re
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from striate.errors import InputError
from striate.inspection.describe import describe
from striate.inspection.layers import describe_network
from striate.reports.network_page import network_page, write_network_page


def test_everything_is_on_it() -> None:
    description = describe("resnet20_cifar")
    page = network_page(description, name="resnet20_cifar")
    text = html.unescape(re.sub(r"<wbr>", "", page))
    for layer in description.layers:
        assert f"</span>{layer.name}</td>" in text
        assert layer.kind in text
    for figure in ("269,722", "40,551,040", "340.1 kB", "1.5 MB"):
        assert figure in text
    assert page.count("<svg") == 3
    assert page.count("<rect") == 3 * (len(description.calls) + 1)
    assert page.count("<path") == 3 * sum(len(call.inputs) for call in description.calls)


def test_it_needs_nothing_from_elsewhere() -> None:
    page = network_page(describe("lenet5"))
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import|https?:", page)
    rows = set(re.findall(r'<tr id="(row-\d+)"', page))
    assert set(re.findall(r'href="#(row-\d+)"', page)) == rows
    assert re.findall(r'type="radio" name="cost" id="(by-\w+)"( checked)?', page) == [
        ("by-macs", " checked"), ("by-params", ""), ("by-outputs", ""),
    ]  # fmt: skip


class Strange(nn.Module):
    """Names that would be markup, a layer never called, one called twice, an operator that is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("<b>&x", nn.Conv2d(1, 1, 1))
        self.relu, self.spare = nn.ReLU(), nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.relu(self.get_submodule("<b>&x")(images)))
        return maps.cumsum(2)


def test_names_are_text_and_notices_are_shown() -> None:
    page = network_page(describe_network(Strange(), (1, 4, 5)), name="<i>mine</i>")
    assert "<b>" not in re.sub(r"<b(ody|r)?>", "", page.replace("<body>", ""))
    assert "<i>mine" not in page
    assert "&lt;i&gt;mine" in page
    assert "2 times" in page
    assert "never called" in page
    assert "the operator aten.cumsum is not known" in page
    assert '<td class="num">?</td>' in page


def test_branches_of_an_inception_network_stand_side_by_side() -> None:
    with torch.device("meta"):
        network = torchvision.models.googlenet(init_weights=False)
    page = network_page(describe_network(network, (3, 224, 224)))
    drawing = page.split("<figure")[1]
    assert len(set(re.findall(r'<rect class="\w+" x="([\d.]+)"', drawing))) == 4


def test_it_is_written_or_says_why_not(tmp_path: Path) -> None:
    description = describe("lenet5")
    path = write_network_page(description, tmp_path / "new" / "page.html", name="lenet5")
    assert path.read_text(encoding="utf-8") == network_page(description, name="lenet5")
    with pytest.raises(InputError, match=r"cannot be written: "):
        write_network_page(description, tmp_path)
