"""The attacks of adversarial-library (PyPI: adv-lib) on a copy of C4 in PyTorch, both imported when first needed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks import networks

NAME = "adversarial-library"
FUNCTIONS = {"DDN": "ddn", "FMN": "fmn", "ALMA": "alma"}
CONVOLUTIONS = {"conv1": (2, 3), "conv2": (2, 0), "conv3": (1, 0)}  # strides and padding


def available() -> bool:
    """Whether PyTorch and adversarial-library are installed."""
    return all(importlib.util.find_spec(name) for name in ("torch", "adv_lib"))


def copied(model: keras.Model) -> Any:
    """C4 as a `torch.nn.Sequential` of the same weights, from images [B, 1, 28, 28] to logits [B, 10]."""
    import torch

    layers: list[Any] = []
    for name, (stride, padding) in CONVOLUTIONS.items():
        kernel, bias = weights(model, name)
        width, _, channels, filters = kernel.shape
        convolution = torch.nn.Conv2d(channels, filters, width, stride, padding)
        convolution.weight.data, convolution.bias.data = kernel.permute(3, 2, 0, 1).contiguous(), bias
        layers += [convolution, torch.nn.ReLU()]
    kernel, bias = weights(model, "logits")
    linear = torch.nn.Linear(*kernel.shape)
    linear.weight.data, linear.bias.data = kernel.T.contiguous(), bias
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), linear).eval().requires_grad_(False)


def weights(model: keras.Model, layer: str) -> list[Any]:
    """A layer's weights as tensors."""
    import torch

    return [torch.tensor(values) for values in model.get_layer(layer).get_weights()]


def attack(model: keras.Model, name: str, **settings: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From images [B, 28, 28, 1] and labels [B] to adversarial images, by one of the library's functions.

    Args:
        model: C4.
        name: one of FUNCTIONS.
        settings: by the library's own names.
    """
    sys.modules["triton"] = None  # type: ignore[assignment]  # only GPUs need it; its LLVM cannot join TensorFlow's
    import adv_lib.attacks
    import torch

    network, function = copied(model), getattr(adv_lib.attacks, FUNCTIONS[name])
    if name == "FMN":
        settings["norm"] = 2

    def call(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        torch.manual_seed(0)
        inputs = torch.tensor(np.moveaxis(images, 3, 1)).contiguous()
        adversarial = function(network, inputs, torch.tensor(labels, dtype=torch.int64), **settings)
        return np.moveaxis(adversarial.numpy(), 1, 3)

    return call


def attacks(problem: networks.Problem, steps: int) -> dict[str, Callable[[], np.ndarray]]:
    """DDN, FMN and ALMA with the library's own settings, at equal steps; none of them without the library."""
    if not available():
        return {}
    made = {
        "DDN": attack(problem.model, "DDN", steps=steps, levels=None),
        "FMN": attack(problem.model, "FMN", steps=steps),
        "ALMA": attack(problem.model, "ALMA", num_steps=steps),
    }
    return {name: lambda call=call: call(problem.images, problem.labels) for name, call in made.items()}  # type: ignore[misc]
