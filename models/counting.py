"""Multiply-adds of any network, counted while PyTorch computes it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(network: nn.Module, resolution: int, channels: int = 3) -> int:
    """Of one image: convolutions, linear layers, attention and recurrent layers.

    Args:
        network: on the CPU, in evaluation mode.
        resolution: height and width of the image.
        channels: of the image.

    Raises:
        ValueError: PyTorch cannot count them, for whatever reason.
    """
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), _in_parts(), _without_gradients(network):
            network(torch.zeros(1, channels, resolution, resolution))
    except Exception as error:  # of the network's own code, while the counter looks on
        raise ValueError(f"its multiply-adds cannot be counted: {' '.join(str(error).split())[:200]}") from error
    return counter.get_total_flops() // 2


@contextmanager
def _in_parts() -> Iterator[None]:
    """Without operators that are several products in one: the counter takes them for none."""
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of settings for GPUs that come with these flags
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))  # whose LSTM is one operator
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_attention)
        yield


@contextmanager
def _without_gradients(network: nn.Module) -> Iterator[None]:
    """The counter follows gradients of what modules are given, and fails where that is a view of a parameter."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
