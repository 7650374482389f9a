"""Expected numbers of the optimizer, metric and training-step tests, from PyTorch and scikit-learn.

Writes optimizers.json, metrics.json and resnet_steps.json beside itself:
    python3 Tests/TrainingTests/Golden/make_loop_golden.py

Everything is computed in float64; `noise` is how far PyTorch's own float32 run is from it, which is what the tests'
tolerances are derived from. Needs torch, torchvision and scikit-learn.
"""

import json
import pathlib

import numpy as np
import sklearn.metrics
import torch
import torchvision

HERE = pathlib.Path(__file__).parent


def uniform(tag: int, count: int) -> np.ndarray:
    """Numbers in [-1, 1), exact in float32: the finalizer of SplitMix64 over (tag << 32) + i. The tests have the twin."""
    with np.errstate(over="ignore"):
        z = (np.uint64(tag) << np.uint64(32)) + np.arange(1, count + 1, dtype=np.uint64)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


# Optimizers: five steps on a convolution, a BatchNorm and a linear layer with given gradients.

SHAPES = {
    "conv1.weight": (4, 3, 3, 3),
    "bn1.weight": (4,),
    "bn1.bias": (4,),
    "fc.weight": (2, 4),
    "fc.bias": (2,),
}
RATES = [0.1, 0.08, 0.05, 0.02, 0.01]


def optimizer_steps(make, dtype):
    parameters = [
        torch.tensor(uniform(100 + i, int(np.prod(shape))).reshape(shape), dtype=dtype, requires_grad=True)
        for i, shape in enumerate(SHAPES.values())
    ]
    decayed = [p for name, p in zip(SHAPES, parameters) if p.ndim > 1]
    plain = [p for name, p in zip(SHAPES, parameters) if p.ndim == 1]
    optimizer = make([{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}])
    for step, rate in enumerate(RATES):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for i, p in enumerate(parameters):
            p.grad = torch.tensor(uniform(1000 + 10 * step + i, p.numel()).reshape(p.shape), dtype=dtype)
        optimizer.step()
    state = [optimizer.state[p] for p in parameters]
    keys = ["momentum_buffer"] if "momentum_buffer" in state[0] else ["exp_avg", "exp_avg_sq"]
    values = [torch.cat([p.detach().flatten() for p in parameters])]
    values += [torch.cat([s[key].flatten() for s in state]) for key in keys]
    return [v.double().numpy() for v in values]


def optimizers():
    rules = {
        "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
        "nesterov": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
        "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.99), eps=1e-6),
    }
    result = {}
    for name, make in rules.items():
        exact = optimizer_steps(make, torch.float64)
        single = optimizer_steps(make, torch.float32)
        result[name] = {
            "vectors": [v.tolist() for v in exact],
            "noise": [float(np.abs(a - b).max()) for a, b in zip(exact, single)],
        }
    return result


# Metrics.


def metrics():
    samples, classes = 200, 4
    logits = np.round(uniform(7, samples * classes).reshape(samples, classes) * 4, 1).astype(np.float32)
    labels = ((uniform(8, samples) + 1) / 2 * 3).astype(np.int64)  # class 3 has no sample
    logits[np.arange(samples), labels] += 1.5
    logits[:40] = np.round(logits[:40])  # ties
    predicted = logits.argmax(1)
    return {
        "logits": logits.flatten().tolist(),
        "labels": labels.tolist(),
        "loss": float(torch.nn.functional.cross_entropy(torch.tensor(logits).double(), torch.tensor(labels))),
        "accuracy": float((predicted == labels).mean()),
        "averagePrecision": [
            float(sklearn.metrics.average_precision_score(labels == k, logits[:, k])) for k in range(3)
        ],
        "precision": sklearn.metrics.precision_score(
            labels, predicted, average=None, labels=range(classes), zero_division=0
        ).tolist(),
        "recall": sklearn.metrics.recall_score(labels, predicted, average=None, labels=range(3)).tolist(),
        "confusion": sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes)).tolist(),
    }


# A whole ResNet-18: five optimizer steps with BatchNorm per virtual shard.

CHANNELS, SIZE, CLASSES, SHARDS, PER_SHARD, STEPS = 8, 16, 5, 4, 4, 5


def resnet(dtype):
    model = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=CLASSES)
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    model.conv1 = torch.nn.Conv2d(3, CHANNELS, 3, 1, 1, bias=False)
    model.bn1 = torch.nn.BatchNorm2d(CHANNELS)
    model.maxpool = torch.nn.Identity()
    for i, stage in enumerate(stages):
        out = CHANNELS << i
        for j, block in enumerate(stage):
            inputs = out if j or i == 0 else out // 2
            stride = 1 if j or i == 0 else 2
            block.conv1 = torch.nn.Conv2d(inputs, out, 3, stride, 1, bias=False)
            block.conv2 = torch.nn.Conv2d(out, out, 3, 1, 1, bias=False)
            block.bn1, block.bn2 = torch.nn.BatchNorm2d(out), torch.nn.BatchNorm2d(out)
            if block.downsample is not None:
                block.downsample = torch.nn.Sequential(
                    torch.nn.Conv2d(inputs, out, 1, stride, bias=False), torch.nn.BatchNorm2d(out)
                )
    model.fc = torch.nn.Linear(CHANNELS * 8, CLASSES)
    model = model.to(dtype)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            values = torch.tensor(uniform(i, p.numel()).reshape(p.shape), dtype=dtype)
            fan = p[0].numel() if p.ndim > 1 else 1
            p.copy_(values * (3.0 / fan) ** 0.5 if p.ndim > 1 else 1 + 0.2 * values if p.ndim == 1 else values)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # keep the batch's own statistics; averaged over shards below
    return model.train()


def resnet_steps(dtype):
    model = resnet(dtype)
    names = [name for name, _ in model.named_parameters()]
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    running = [[torch.zeros_like(m.running_mean), torch.ones_like(m.running_var)] for m in norms]
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True)
    batch = SHARDS * PER_SHARD
    losses, gradients = [], []
    for step in range(STEPS):
        x = uniform(5000 + step, batch * SIZE * SIZE * 3).reshape(batch, SIZE, SIZE, 3).transpose(0, 3, 1, 2)
        x = torch.tensor(np.ascontiguousarray(x), dtype=dtype)
        y = torch.arange(batch) * 7 % CLASSES
        optimizer.zero_grad()
        total = 0.0
        statistics = [[torch.zeros_like(a) for a in pair] for pair in running]
        for shard in range(SHARDS):
            part = slice(shard * PER_SHARD, (shard + 1) * PER_SHARD)
            loss = torch.nn.functional.cross_entropy(model(x[part]), y[part], label_smoothing=0.1, reduction="sum")
            (loss / batch).backward()
            total += float(loss.detach())
            for sums, m in zip(statistics, norms):
                sums[0] += m.running_mean / SHARDS
                sums[1] += m.running_var / SHARDS
        for pair, batch_pair in zip(running, statistics):
            for a, b in zip(pair, batch_pair):
                a.mul_(0.9).add_(0.1 * b)
        losses.append(total / batch)
        if step == 0:
            gradients = [float(p.grad.norm()) for p in model.parameters()]
        optimizer.step()

    def project(i, tensor):
        values = tensor.detach().double().flatten().numpy()
        return [float(np.linalg.norm(values)), float(values @ uniform(9000 + i, values.size))]

    parameters = [project(i, p) for i, p in enumerate(model.parameters())]
    buffers = [project(i, a) for i, a in enumerate(a for pair in running for a in pair)]
    return names, np.array(losses), np.array(gradients), np.array(parameters), np.array(buffers)


def resnet_golden():
    names, *exact = resnet_steps(torch.float64)
    _, *single = resnet_steps(torch.float32)
    keys = ["losses", "gradientNorms", "parameters", "buffers"]
    result = {"names": names}
    for key, a, b in zip(keys, exact, single):
        result[key] = a.tolist()
        result[key + "Noise"] = float(np.abs(a - b).max())
    return result


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, make in {"optimizers": optimizers, "metrics": metrics, "resnet_steps": resnet_golden}.items():
        (HERE / f"{name}.json").write_text(json.dumps(make()) + "\n")
