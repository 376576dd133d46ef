"""Supernets narrow enough for few channels train on every CPU, one thread or more."""

import torch
from fairnas.models import any_space, build_supernet
from torch import nn


def test_narrow_strided_convolutions_are_those_of_torch() -> None:
    """Same answers and gradients as the plain convolution, in the layout that training uses."""
    supernet = build_supernet(any_space("macro").scaled(0.125), num_classes=10)
    narrow = [
        module
        for module in supernet.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
    ]
    assert any(module.in_channels < 8 for module in narrow)
    for ours in narrow:
        plain = nn.Conv2d(ours.in_channels, ours.out_channels, 1, ours.stride[0], bias=False)
        plain.load_state_dict(ours.state_dict())
        images = torch.randn(2, ours.in_channels, 9, 9)
        with torch.backends.mkldnn.flags(enabled=False):
            expected = plain(images)
            expected.square().sum().backward()
        answers = ours.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        answers.square().sum().backward()
        torch.testing.assert_close(answers, expected)
        torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
