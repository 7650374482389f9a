"""PyTorch's ways to make the training step that `temper bench step` makes: SGD with Nesterov momentum and weight decay."""
import time
import warnings
from typing import Callable

import torch
from torch import nn
from torch.ao import quantization

from resnet import ResNet18

warnings.filterwarnings("ignore")


def observers(fused: bool) -> quantization.QConfig:
    """The default of x86; or the same fake-quantization as separate observer and rounding, as it was before."""
    if fused:
        return quantization.get_default_qat_qconfig("x86")
    return quantization.QConfig(
        activation=quantization.FakeQuantize.with_args(
            observer=quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255, reduce_range=True),
        weight=quantization.FakeQuantize.with_args(
            observer=quantization.MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127,
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric))


def make_model(variant: str) -> nn.Module:
    torch.manual_seed(1)
    model = ResNet18().train()
    if variant.startswith("qat"):
        if "unfused BatchNorm" not in variant:
            model.fuse()
        model.qconfig = observers(fused="unfused observers" not in variant)
        quantization.prepare_qat(model, inplace=True)
    if "channels_last" in variant or "compiled" in variant:
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model) if "compiled" in variant else model


def make_step(variant: str, size: int, batch: int, wrap: Callable = lambda model: model) -> Callable[[], None]:
    """A function that makes one step; `wrap` makes the model distributed."""
    model = wrap(make_model(variant))
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch) % 5
    if "channels_last" in variant or "compiled" in variant:
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.001, momentum=0.9, nesterov=True, weight_decay=0.0005, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.startswith("bf16")):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return step


def measure(step: Callable[[], None], warm_ups: int, repetitions: int) -> list[float]:
    """Milliseconds of each step."""
    times = []
    for repetition in range(warm_ups + repetitions):
        start = time.perf_counter()
        step()
        if repetition >= warm_ups:
            times.append(1e3 * (time.perf_counter() - start))
    return times
