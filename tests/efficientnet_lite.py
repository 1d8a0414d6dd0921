"""EfficientNet-Lite 0 to 4 in PyTorch, for oracle_networks.py: written from the published description (TensorFlow's
reference: relu6, no squeeze-and-excite, "same" padding, epsilon 1e-3), with timm's parameter names."""
import math

import torch
import torch.nn.functional as F
from torch import nn

# expand, channels, blocks, kernel, stride
STAGES = [(1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1), (6, 192, 4, 5, 2),
          (6, 320, 1, 3, 1)]
SCALES = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)]


class SameConv(nn.Conv2d):
    """TensorFlow's "same": ceil(size / stride) outputs, the odd zero below and to the right."""

    def forward(self, x):
        pads = []
        for axis in (3, 2):
            kernel, stride, size = self.kernel_size[axis - 2], self.stride[axis - 2], x.shape[axis]
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, None, self.stride, 0, 1, self.groups)


def conv(inputs, outputs, kernel=1, stride=1, groups=1):
    return SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def norm(channels, act=True):
    """A batch normalisation that holds the activation behind it, as in timm, but does not call it."""
    bn = nn.BatchNorm2d(channels, eps=1e-3)
    if act:
        bn.act = nn.ReLU6()
    return bn


class Separable(nn.Module):
    """The block without expansion."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv_dw, self.bn1 = conv(inputs, inputs, kernel, stride, inputs), norm(inputs)
        self.conv_pw, self.bn2 = conv(inputs, outputs), norm(outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.bn1.act(self.bn1(self.conv_dw(x)))
        y = self.bn2(self.conv_pw(y))
        return x + y if self.residual else y


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, expand, kernel, stride):
        super().__init__()
        hidden = inputs * expand
        self.conv_pw, self.bn1 = conv(inputs, hidden), norm(hidden)
        self.conv_dw, self.bn2 = conv(hidden, hidden, kernel, stride, hidden), norm(hidden)
        self.conv_pwl, self.bn3 = conv(hidden, outputs), norm(outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.bn1.act(self.bn1(self.conv_pw(x)))
        y = self.bn2.act(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.residual else y


def round_channels(channels):
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class EfficientNetLite(nn.Module):
    def __init__(self, variant, classes=1000):
        super().__init__()
        width, depth = SCALES[variant]
        channels, stages = 32, []
        self.conv_stem, self.bn1 = conv(3, channels, 3, 2), norm(channels)
        for index, (expand, outputs, blocks, kernel, stride) in enumerate(STAGES):
            outputs = round_channels(outputs * width)
            if 0 < index < len(STAGES) - 1:
                blocks = math.ceil(blocks * depth)
            stage = []
            for i in range(blocks):
                step = stride if i == 0 else 1
                stage.append(Separable(channels, outputs, kernel, step) if expand == 1
                             else Inverted(channels, outputs, expand, kernel, step))
                channels = outputs
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = conv(channels, 1280), norm(1280)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x):
        x = self.bn1.act(self.bn1(self.conv_stem(x)))
        x = self.bn2.act(self.bn2(self.conv_head(self.blocks(x))))
        return self.classifier(torch.flatten(self.global_pool(x), 1))


def other_names(state):
    """The same state_dict under the names of the EfficientNet-PyTorch implementations."""
    blocks = sorted({tuple(map(int, name.split(".")[1:3])) for name in state if name.startswith("blocks.")})
    numbers = {f"blocks.{s}.{b}": i for i, (s, b) in enumerate(blocks)}
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    later = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
             "conv_pwl": "_project_conv", "bn3": "_bn2"}
    renamed = {}
    for name, tensor in state.items():
        module, _, rest = name.rpartition(".")
        block, _, layer = module.rpartition(".")
        if block:
            layers = first if block.startswith("blocks.0.") else later
            renamed[f"_blocks.{numbers[block]}.{layers[layer]}.{rest}"] = tensor
        else:
            renamed[f"{top[module]}.{rest}"] = tensor
    return renamed
