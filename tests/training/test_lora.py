# SPDX-License-Identifier: Apache-2.0
"""Low-rank additions: none at the start, plain weights at the end."""

import pytest
import torch
from torch import nn

from napari_sam.training.lora import (
    LoraLinear,
    LoraPointwise,
    add_lora,
    merge_lora,
    merged_lora,
)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, kernel_size=1),
        nn.ReLU(),
        nn.Conv2d(24, 24, kernel_size=3, padding=1, groups=24),
        nn.Conv2d(24, 32, kernel_size=1, bias=False),
        nn.Flatten(2),
        nn.Linear(25, 40),
        nn.Linear(40, 4),
    )


def move(net: nn.Module) -> None:
    """Make additions that do something."""
    for name, parameter in net.named_parameters():
        if "lora" in name:
            nn.init.normal_(parameter, std=0.3)


X = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def test_at_the_start_there_is_no_effect(net) -> None:
    before = net(X)
    # the first convolution and the last layer are too narrow for rank 4
    assert add_lora(net, rank=4, scale=2.0) == 2
    assert isinstance(net[3], LoraPointwise)
    assert isinstance(net[5], LoraLinear)
    assert torch.equal(net(X), before)


def test_only_the_additions_learn(net) -> None:
    add_lora(net, rank=4, scale=2.0)
    learning = {name for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {
        "3.lora_down",
        "3.lora_up",
        "5.lora_down",
        "5.lora_up",
    }
    fixed = {
        k: p.detach().clone() for k, p in net.named_parameters() if "lora" not in k
    }
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        net(X).square().sum().backward()
        optimizer.step()
    assert net[5].lora_up.abs().max() > 0
    for key, value in fixed.items():
        assert torch.equal(net.get_parameter(key), value), key


def test_an_addition_by_hand() -> None:
    plain = nn.Linear(2, 2)
    layer = LoraLinear(plain, rank=1, scale=3.0)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
        layer.lora_down.copy_(torch.tensor([[1.0, 2.0]]))
        layer.lora_up.copy_(torch.tensor([[1.0], [-1.0]]))
    # W x + 3 B (A x) with A x = 1 * 5 + 2 * 7 = 19
    assert layer(torch.tensor([5.0, 7.0])).tolist() == [5 + 57, 7 - 57]
    assert layer.merged().weight.tolist() == [[4.0, 6.0], [-3.0, -5.0]]


def test_merged_weights_answer_the_same_under_the_old_names(net) -> None:
    names = {key: value.shape for key, value in net.state_dict().items()}
    add_lora(net, rank=4, scale=2.0)
    move(net)
    unmerged = net(X)
    with merged_lora(net):
        assert not any("lora" in key for key in net.state_dict())
        assert torch.allclose(net(X), unmerged, atol=1e-6, rtol=1e-6)
    assert isinstance(net[5], LoraLinear)
    assert torch.equal(net(X), unmerged)
    merge_lora(net)
    assert {key: value.shape for key, value in net.state_dict().items()} == names
    assert torch.allclose(net(X), unmerged, atol=1e-6, rtol=1e-6)


def test_a_second_call_adds_nothing_to_what_has_additions(net) -> None:
    add_lora(net, rank=4, scale=2.0)
    first = net[5]
    assert add_lora(net, rank=4, scale=2.0) == 0
    assert net[5] is first
