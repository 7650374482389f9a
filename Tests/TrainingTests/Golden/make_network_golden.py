"""Writes network_golden.json: loss, statistics and gradients of whole ResNets as PyTorch computes them.

Run from this folder: /opt/temper-venv/bin/python make_network_golden.py   (torch 2.15, about 20 s)

The model is torchvision's ResNet written out (torchvision need not be installed). Everything is in float64, so the numbers are
the reference and Temper's distance from them is its own rounding. Weights and inputs are not stored: both sides compute
them from a formula (`values`, twin: NetworkGolden.swift). BatchNorm works on virtual shards: the model runs once per shard and
gradients add up. Of each gradient the norm, the dot product with a fixed vector and the first four values are stored.
"""
import json
import math

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)


def values(name: str, count: int) -> np.ndarray:
    """Uniform in [-0.5, 0.5), multiples of 2^-24: splitmix64 of FNV-1a(name) + index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = (np.uint64(seed) + np.arange(count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5).astype(np.float32)


def parameter(name: str, shape) -> np.ndarray:
    u = values(name, math.prod(shape)).reshape(shape)
    if len(shape) > 1:  # variance 2 / fan-out
        fan_out = np.float32(shape[0] * math.prod(shape[2:]))
        return u * np.sqrt(np.float32(24) / fan_out)
    is_scale = name.endswith("weight")
    return np.float32(1) + np.float32(0.5) * u if is_scale else np.float32(0.25) * u


class RoundHalf(torch.autograd.Function):
    """What the FP16 phase does to an activation and to its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.to(torch.float16).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.to(torch.float16).to(gradient.dtype)


class RoundWeight(torch.autograd.Function):
    """Weights are rounded for the products; their gradients stay in full precision."""

    @staticmethod
    def forward(ctx, x):
        return x.to(torch.float16).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class FakeQuantize(torch.autograd.Function):
    """Symmetric, limit 127, straight-through inside the range; scale is a float32 per tensor or per output channel."""

    @staticmethod
    def forward(ctx, x, scale):
        rounded = torch.round(x * (1 / scale))
        ctx.save_for_backward((rounded >= -127) & (rounded <= 127))
        return rounded.clamp(-127, 127) * scale

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


class Phase:
    """The roundings of a phase: identity in fp32."""

    def __init__(self, precision):
        self.precision = precision
        self.ranges = {}

    def activation(self, x):
        return RoundHalf.apply(x) if self.precision == "fp16" else x

    def weight(self, w):
        if self.precision == "fp16":
            return RoundWeight.apply(w)
        if self.precision == "qat":
            scale = w.detach().abs().amax(dim=(1, 2, 3), keepdim=True).float() / 127
            return FakeQuantize.apply(w, scale.double())
        return w

    def quantize(self, name, x):
        if self.precision != "qat":
            return x
        low, high = x.detach().min().item(), x.detach().max().item()
        seen = self.ranges.get(name, (math.inf, -math.inf))
        self.ranges[name] = (min(low, seen[0]), max(high, seen[1]))
        return FakeQuantize.apply(x, torch.tensor(ACTIVATION_SCALE, dtype=torch.float32).double())


ACTIVATION_SCALE = 0.03125


class Convolution(nn.Conv2d):
    def forward(self, x, phase):
        return phase.activation(self._conv_forward(x, phase.weight(self.weight), None))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = Convolution(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = Convolution(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(Convolution(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x, phase, name):
        quantized = phase.quantize(f"{name}.conv1.input", x)
        y = phase.activation(torch.relu(self.bn1(self.conv1(quantized, phase))))
        y = self.bn2(self.conv2(phase.quantize(f"{name}.conv2.input", y), phase))
        if self.downsample is None:
            identity = quantized
        else:
            identity = phase.activation(self.downsample[1](self.downsample[0](quantized, phase)))
            identity = phase.quantize(f"{name}.add.identity", identity)
        return phase.activation(torch.relu(y + identity))


class ResNet(nn.Module):
    def __init__(self, stages, blocks, channels, stem, inputs, classes):
        super().__init__()
        self.imagenet = stem == "imagenet"
        self.conv1 = Convolution(inputs, channels, *((7, 2, 3) if self.imagenet else (3, 2, 1)), bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        width = channels
        self.stages = stages
        for stage in range(stages):
            layers = []
            for block in range(blocks):
                layers.append(Block(width, channels << stage, 2 if stage > 0 and block == 0 else 1))
                width = channels << stage
            setattr(self, f"layer{stage + 1}", nn.ModuleList(layers))
        self.fc = nn.Linear(width, classes)

    def forward(self, x, phase):
        x = phase.quantize("conv1.input", phase.activation(x))
        x = phase.activation(torch.relu(self.bn1(self.conv1(x, phase))))
        if self.imagenet:
            x = torch.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            for index, block in enumerate(getattr(self, f"layer{stage + 1}")):
                x = block(x, phase, f"layer{stage + 1}.{index}")
        x = phase.quantize("avgpool.input", x)
        x = phase.activation(x.mean(dim=(2, 3)))
        weight = RoundWeight.apply(self.fc.weight) if phase.precision == "fp16" else self.fc.weight
        return phase.activation(x @ weight.t() + self.fc.bias)


def summary(name, tensor):
    flat = tensor.detach().double().numpy().reshape(-1)
    direction = values("projection", flat.size).astype(np.float64)
    return {
        "norm": float(np.linalg.norm(flat)),
        "projection": float(flat @ direction),
        "values": [float(v) for v in flat[:4]],
    }


def run(case):
    model = ResNet(case["stages"], case["blocks"], case["channels"], case["stem"], case["inputs"], case["classes"]).double()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.from_numpy(parameter(name, tuple(tensor.shape)).astype(np.float64)))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # running statistics become the batch's, the variance unbiased
    phase = Phase(case["precision"])
    batch, shards, size = case["batch"], case["shards"], case["size"]
    pixels = np.float32(3) * values(case["input"], batch * size * size * case["inputs"])
    x = torch.from_numpy(pixels.astype(np.float64)).reshape(batch, size, size, case["inputs"]).permute(0, 3, 1, 2)
    labels = torch.from_numpy(((values("labels", batch) + 0.5) * case["classes"]).astype(np.int64))
    loss_function = nn.CrossEntropyLoss(reduction="sum", label_smoothing=case["smoothing"])
    loss_sum, correct, logits, statistics = 0.0, 0, [], {}
    for shard in range(shards):
        rows = slice(shard * batch // shards, (shard + 1) * batch // shards)
        output = model(x[rows], phase)
        loss = loss_function(output, labels[rows])
        (loss / batch * case["lossScale"]).backward()
        loss_sum += loss.item()
        correct += int((output.argmax(1) == labels[rows]).sum())
        logits += output.detach().reshape(-1).tolist()
        for name, buffer in model.named_buffers():
            if buffer.dim() == 1:
                statistics[name] = statistics.get(name, 0) + buffer.clone()
    result = dict(case)
    result["lossSum"] = loss_sum
    result["correct"] = correct
    result["logits"] = logits[:24]
    result["statistics"] = {name: summary(name, value) for name, value in statistics.items()}
    result["gradients"] = {name: summary(name, p.grad) for name, p in model.named_parameters()}
    result["ranges"] = {name: [-low, high] for name, (low, high) in phase.ranges.items()}
    result["activationScale"] = ACTIVATION_SCALE
    return result


def case(name, **changes):
    defaults = dict(
        name=name, precision="fp32", stages=4, blocks=2, channels=8, stem="imagenet", inputs=3, size=64, classes=7, batch=8, shards=4,
        smoothing=0.1, lossScale=1.0, input="input")
    return defaults | changes


SMALL = dict(blocks=1, channels=8, stem="small", inputs=1, size=20, classes=10, batch=8, shards=2)

# Roundings make these networks chaotic at random weights: noise of 1e-6 moves one value over a rounding boundary, and BatchNorm
# over few rows turns that into percents of a gradient. `input` picks inputs for which noise of 2e-6 changes nothing, so
# that the quantized numbers can be compared to 1e-4; in fp16 boundaries are too dense for that, hence one stage.
CASES = [
    case("resnet18 narrow"),
    case("resnet18 full width", channels=64, batch=4, shards=2, smoothing=0.0),
    case("resnet10 small stem", blocks=1, channels=16, stem="small", inputs=1, size=28, classes=10, batch=16, shards=8),
    case("one stage fp16", precision="fp16", stages=1, lossScale=1024.0, **{**SMALL, "batch": 16}, input="input0"),
    case("resnet10 fp16", precision="fp16", lossScale=1024.0, **{**SMALL, "channels": 16, "size": 48, "batch": 16}),
    case("two stages quantized", precision="qat", stages=2, **SMALL, input="input0"),
    case("resnet10 quantized", precision="qat", **SMALL, input="input0"),
]

if __name__ == "__main__":
    with open("network_golden.json", "w") as file:
        json.dump([run(c) for c in CASES], file, separators=(",", ":"))
        file.write("\n")
