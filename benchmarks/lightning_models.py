"""Modules with the parameters of models that people train in Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import lightning
import torch

Shape = tuple[int, ...]
TINY = "6 parameters of 500, AdamW"
# The models whose loss of training time is measured.
BUSY = ("300 parameters of 4,000, AdamW", "ResNet-50, AdamW")


class Shapes(lightning.LightningModule):
    """A module with parameters and buffers of given shapes, each in a module of its own.

    The first step trains all parameters, so that each gets its optimizer state. Later steps train only the last
    parameter, so a step costs almost nothing for a model of any size.

    Args:
        parameters: The shapes of the parameters.
        buffers: The shapes of the buffers.
        groups: The number of parameter groups.
        optimizers: The number of optimizers, each for a part of the parameters.
        tied: Whether the first parameter is used a second time.
    """

    def __init__(
        self, parameters: Sequence[Shape], buffers: Sequence[Shape] = (), *, groups: int = 1, optimizers: int = 1,
        tied: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = optimizers == 1
        self._groups, self._optimizers, self._started = groups, optimizers, False
        self.parts = torch.nn.ModuleList()
        for shape in parameters:
            self.parts.append(part := torch.nn.Module())
            part.weight = torch.nn.Parameter(torch.zeros(shape))
        for shape in buffers:
            self.parts.append(part := torch.nn.Module())
            part.register_buffer("value", torch.zeros(shape))
        if tied:
            self.parts.append(part := torch.nn.Module())
            part.weight = self.parts[0].weight

    def training_step(self, batch, index: int) -> torch.Tensor | None:
        parameters = list(self.parameters())
        loss = sum(parameter.sum() for parameter in (parameters[-1:] if self._started else parameters))
        self._started = True
        if self.automatic_optimization:
            return loss
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()
        return None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        parameters = list(self.parameters())
        parts = [parameters[number :: self._optimizers] for number in range(self._optimizers)]
        return [
            torch.optim.AdamW([{"params": part[number :: self._groups]} for number in range(self._groups)], 1e-6)
            for part in parts
        ]


def resnet(*blocks: int) -> tuple[list[Shape], list[Shape]]:
    """Return the shapes of the parameters and the buffers of a ResNet of bottleneck blocks, for 1,000 classes."""
    parameters: list[Shape] = []
    buffers: list[Shape] = []

    def convolution(outputs: int, inputs: int, width: int) -> None:
        parameters.extend([(outputs, inputs, width, width), (outputs,), (outputs,)])  # with its BatchNorm
        buffers.extend([(outputs,), (outputs,), ()])

    convolution(64, 3, 7)
    inputs = 64
    for count, width in zip(blocks, (64, 128, 256, 512), strict=True):
        for number in range(count):
            convolution(width, inputs, 1)
            convolution(width, width, 3)
            convolution(4 * width, width, 1)
            if number == 0:
                convolution(4 * width, inputs, 1)
            inputs = 4 * width
    return [*parameters, (1000, 2048), (1000,)], buffers


def transformer(layers: int, width: int, words: int, positions: int) -> list[Shape]:
    """Return the shapes of the parameters of a transformer such as BERT or GPT-2."""
    shapes: list[Shape] = [(words, width), (positions, width), (width,), (width,)]
    for _ in range(layers):
        shapes += [(3 * width, width), (3 * width,), (width, width), (width,), (width,), (width,)]
        shapes += [(4 * width, width), (4 * width,), (width, 4 * width), (width,), (width,), (width,)]
    return shapes


def adapters(layers: int, width: int, rank: int) -> list[Shape]:
    """Return the shapes of the parameters that LoRA trains for the four projections of each layer."""
    return [shape for _ in range(4 * layers) for shape in ((rank, width), (width, rank))]


def models(quick: bool) -> Iterator[tuple[str, Callable[[], lightning.LightningModule]]]:
    """Yield the name of each model, and a function that makes it.

    Args:
        quick: Whether to yield only a tiny model.
    """
    yield TINY, lambda: Shapes([(500,)] * 6)
    if quick:
        return
    yield "300 parameters of 4,000, AdamW", lambda: Shapes([(4000,)] * 300)
    yield "ResNet-50, AdamW", lambda: Shapes(*resnet(3, 4, 6, 3))
    yield "ResNet-152, AdamW", lambda: Shapes(*resnet(3, 8, 36, 3))
    yield "encoder of BERT-base's shape, AdamW", lambda: Shapes(transformer(12, 768, 30_522, 512))
    yield "3,000 parameters of 400 (experts, adapters), AdamW", lambda: Shapes([(400,)] * 3000)
    yield "GPT-2's shape, tied weights, AdamW", lambda: Shapes(transformer(12, 768, 50_257, 1024), tied=True)
    yield "GAN, two optimizers", lambda: Shapes([(256, 128, 3, 3), (256,)] * 10, optimizers=2)
    yield "5,000 buffers, AdamW", lambda: Shapes([(500,)] * 6, [(50,)] * 5000)
    yield "LoRA of 32 layers, rank 8, AdamW", lambda: Shapes(adapters(32, 2048, 8))
    yield "60 parameter groups, AdamW", lambda: Shapes([(4000,)] * 300, groups=60)
