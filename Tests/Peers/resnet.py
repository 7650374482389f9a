"""ResNet-18 as torchvision has it, with what eager-mode quantization needs: an addition with ReLU as a module, fusable names."""
import torch
from torch import nn
from torch.ao.quantization import DeQuantStub, QuantStub
from torch.ao.nn.quantized import FloatFunctional


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = convolution(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
        self.sum = FloatFunctional()
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.sum.add_relu(self.bn2(self.conv2(x)), identity)

    def fuse(self) -> None:
        groups = [["conv1", "bn1", "relu1"], ["conv2", "bn2"]]
        torch.ao.quantization.fuse_modules_qat(self, groups, inplace=True)
        if self.downsample is not None:
            torch.ao.quantization.fuse_modules_qat(self.downsample, ["0", "1"], inplace=True)


class ResNet18(nn.Module):
    """Images [N, 3, S, S] to logits [N, classes]."""

    def __init__(self, classes: int = 5):
        super().__init__()
        self.quantize, self.dequantize = QuantStub(), DeQuantStub()
        self.conv1, self.bn1, self.relu = convolution(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [64, 64, 128, 256, 512]
        self.layers = nn.Sequential(*[
            Block(widths[stage] if block == 0 else widths[stage + 1], widths[stage + 1],
                  2 if stage > 0 and block == 0 else 1)
            for stage in range(4) for block in range(2)])
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.quantize(x)))))
        return self.dequantize(self.fc(torch.flatten(self.avgpool(self.layers(x)), 1)))

    def fuse(self) -> None:
        torch.ao.quantization.fuse_modules_qat(self, ["conv1", "bn1", "relu"], inplace=True)
        for block in self.layers:
            block.fuse()
