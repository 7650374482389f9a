#!/usr/bin/env python3
"""Writes resnet18.txt: torchvision's ResNet-18 state dict and the output shape of each of its modules.

Lines: "tensor NAME EXTENT..." in state-dict order, without num_batches_tracked; "module NAME CHANNELS HEIGHT WIDTH" for a
96x80 image. Run: .venv/bin/python Tests/GraphTests/Golden/make_golden.py (torch 2.15, torchvision 0.29).
"""
import pathlib

import torch
import torchvision

model = torchvision.models.resnet18(num_classes=7).eval()
lines = []
for name, tensor in model.state_dict().items():
    if not name.endswith("num_batches_tracked"):
        lines.append(" ".join(["tensor", name, *map(str, tensor.shape)]))
shapes = []
for name, module in model.named_modules():
    if not list(module.children()) and not name.endswith("relu"):
        module.register_forward_hook(
            lambda _module, _input, output, name=name: shapes.append(
                " ".join(["module", name, *map(str, [*output.shape[1:], 1, 1][:3])])))
with torch.no_grad():
    model(torch.zeros(1, 3, 96, 80))
(pathlib.Path(__file__).parent / "resnet18.txt").write_text("\n".join(lines + shapes) + "\n")
