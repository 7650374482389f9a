#!/usr/bin/env python3
"""Writes golden.json: fake-quantize, observers and scales of torch.ao, calibrators as pytorch-quantization's.

The calibrators are restated here from pytorch_quantization/calib/histogram.py (NVIDIA, Apache-2.0) on a histogram whose
bins have a power-of-two width, because that package does not install any more. Every float is written as its shortest
float32 or float64 decimal. Run: .venv/bin/python Tests/QuantizationTests/Golden/make_golden.py (torch 2.15, numpy, scipy).
"""
import json
import pathlib

import numpy
import scipy.stats
import torch
from torch.ao.quantization import MinMaxObserver, MovingAverageMinMaxObserver, PerChannelMinMaxObserver

generator = torch.Generator().manual_seed(7)


def floats(tensor):
    return [float(numpy.float32(x)) for x in tensor.flatten().tolist()]


def fake_quantize_case(scale, zero_point, low, high):
    half_steps = torch.arange(2 * low - 6, 2 * high + 7, 5, dtype=torch.float32) * scale / 2
    noise = torch.randn(120, generator=generator) * scale * (high - low) / 3
    values = torch.cat([half_steps, noise, torch.tensor([0.0, -0.0, 1e-30, -3e20, 3e20])]).requires_grad_()
    output = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, low, high)
    output.sum().backward()
    return {"scale": scale, "zeroPoint": zero_point, "low": low, "high": high, "input": floats(values.detach()),
            "output": floats(output.detach()), "mask": [int(x) for x in values.grad.tolist()]}


def observer_case(constant):
    minmax = MinMaxObserver(dtype=torch.qint8, quant_min=-127, quant_max=127, qscheme=torch.per_tensor_symmetric)
    moving = MovingAverageMinMaxObserver(averaging_constant=constant, dtype=torch.qint8, quant_min=-127, quant_max=127,
                                         qscheme=torch.per_tensor_symmetric)
    steps = []
    for step in range(12):
        batch = torch.randn(64, generator=generator) * (1 + 0.2 * step) + 0.3
        minmax(batch)
        moving(batch)
        steps.append({"minimum": batch.min().item(), "maximum": batch.max().item(),
                      "movingMinimum": moving.min_val.item(), "movingMaximum": moving.max_val.item(),
                      "movingScale": moving.calculate_qparams()[0].item(),
                      "minMaxMinimum": minmax.min_val.item(), "minMaxMaximum": minmax.max_val.item(),
                      "minMaxScale": minmax.calculate_qparams()[0].item()})
    return {"constant": constant, "steps": steps}


def channel_case():
    """Convolution weights in torch order with a zero channel; narrow range; torch.ao's scales and fake-quantized weights."""
    weights = torch.randn(6, 3, 2, 2, generator=generator) * torch.tensor([1, 0.1, 3, 0, 1e-3, 1]).reshape(6, 1, 1, 1)
    observer = PerChannelMinMaxObserver(ch_axis=0, dtype=torch.qint8, quant_min=-127, quant_max=127,
                                        qscheme=torch.per_channel_symmetric)
    observer(weights)
    scales, zero_points = observer.calculate_qparams()
    output = torch.fake_quantize_per_channel_affine(weights, scales, zero_points.int(), 0, -127, 127)
    return {"shape": list(weights.shape), "weights": floats(weights), "scales": floats(scales), "output": floats(output)}


def entropy_edge(counts, width, levels=128, start=128):
    bins = counts.astype(numpy.float64)
    bins[0] = bins[1]
    divergences = []
    for kept in range(start, len(bins) + 1):
        group = numpy.arange(kept) * levels // kept
        filled = bins[:kept] > 0
        sums = numpy.bincount(group[filled], weights=bins[:kept][filled], minlength=levels)
        members = numpy.bincount(group[filled], minlength=levels)
        average = numpy.divide(sums, members, out=numpy.zeros(levels), where=members > 0)
        density = numpy.where(filled, average[group], 0)
        reference = bins[:kept].copy()
        reference[-1] += bins[kept:].sum()
        divergences.append(scipy.stats.entropy(reference, density))
    divergences = numpy.array(divergences)
    last = len(divergences) - 1 - numpy.argmin(divergences[::-1])
    return (last + start) * width, divergences[last]


def mse_center(counts, width, limit=127, start=128):
    centers = (numpy.arange(len(counts)) + 0.5) * width
    errors = []
    for candidate in range(start, len(centers)):
        scale = centers[candidate] / limit
        quantized = numpy.minimum(numpy.rint(centers / scale), limit) * scale
        errors.append(((quantized - centers) ** 2 * counts).mean())
    return centers[numpy.argmin(errors) + start]


def percentile_edge(counts, width, percent):
    cumulative = numpy.cumsum(counts)
    return (int(numpy.argmax(cumulative >= cumulative[-1] * percent / 100)) + 1) * width


def calibration_case(name, values):
    values = numpy.abs(values.astype(numpy.float32))
    exponent = int(numpy.floor(numpy.log2(values.max()))) - 10
    width = 2.0 ** exponent
    counts = numpy.bincount((values / numpy.float32(width)).astype(numpy.int64), minlength=2048)
    used = counts[:counts.nonzero()[0][-1] + 1]
    edge, divergence = entropy_edge(used, width)
    filled = [[int(i), int(c)] for i, c in enumerate(used) if c]
    return {"name": name, "exponent": exponent, "maximum": float(values.max()), "counts": filled, "entropy": edge,
            "divergence": float(divergence), "mse": float(mse_center(used, width)),
            "percentile99": percentile_edge(used, width, 99.0), "percentile9999": percentile_edge(used, width, 99.99)}


random = numpy.random.default_rng(11)
relu = numpy.maximum(random.normal(0, 1, 20000), 0)
outliers = numpy.concatenate([random.laplace(0, 0.05, 30000), random.uniform(3, 4, 40)])
golden = {
    "fakeQuantize": [fake_quantize_case(0.037, 0, -127, 127), fake_quantize_case(0.25, 0, -128, 127),
                     fake_quantize_case(0.11, 0, -7, 7), fake_quantize_case(0.02, 131, 0, 255)],
    "observers": [observer_case(0.01), observer_case(0.3)],
    "perChannel": channel_case(),
    "calibration": [calibration_case("relu", relu), calibration_case("outliers", outliers),
                    calibration_case("uniform", random.uniform(0, 6, 9000))],
}
path = pathlib.Path(__file__).parent / "golden.json"
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(path.stat().st_size, [(c["name"], c["entropy"], c["mse"], c["maximum"]) for c in golden["calibration"]])
