"""The aligned initialisation: every path is the same function, and yet no block is a copy of another."""

from __future__ import annotations

import numpy as np
import torch
from fairnas.models import Supernet, align_choices, get_space


def test_all_paths_start_as_the_same_function() -> None:
    torch.manual_seed(0)
    space = get_space("b").scaled(0.25)
    supernet = Supernet(space, num_classes=10).double().train()
    images = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    paths = [space.sample(np.random.default_rng(seed)).choices for seed in range(4)]

    independent = [supernet(images, path) for path in paths]
    assert (independent[0] - independent[1]).abs().max() > 1e-2

    align_choices(supernet)
    aligned = [supernet(images, path) for path in paths]
    for logits in aligned[1:]:
        torch.testing.assert_close(logits, aligned[0], rtol=1e-9, atol=1e-9)


def test_added_weights_receive_gradients() -> None:
    """What a larger kernel or expansion adds starts without effect, but learns from the first step on."""
    torch.manual_seed(0)
    space = get_space("b").scaled(0.25)
    supernet = Supernet(space, num_classes=10).train()
    align_choices(supernet)
    largest = space.uniform("E6K7").choices
    supernet(torch.randn(8, 3, 32, 32), largest).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    outermost = gradients["layers.0.5.conv_dw.weight"][:, :, 0, 0]
    projection = gradients["layers.0.5.conv_pwl.weight"]
    assert outermost.abs().max() > 0
    assert projection[:, projection.shape[1] // 2 :].abs().max() > 0
