"""Back-propagation in plain PyTorch, the baseline with which `urfb bench` compares urfb's training step."""

import torch
from torch import Tensor, nn

from urfb.nn.notation import Conv, Drop, Full, Maxpool, Sum, parse


class Baseline(nn.Module):
    """A network of the paper, except that its pools pad with −∞ in place of 0, because that is faster in PyTorch."""

    def __init__(self, text: str, classes: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for statement in parse(text):
            match statement:
                case Conv(filters, rows, columns):
                    padding = (rows // 2, columns // 2) if rows % 2 == columns % 2 == 1 else "same"
                    conv = nn.LazyConv2d(filters, (rows, columns), padding=padding, bias=False)  # type: ignore[arg-type]
                    self.steps.append(nn.Sequential(conv, nn.Hardtanh()))
                case Full(units):
                    self.steps.append(nn.Sequential(nn.Flatten(), nn.LazyLinear(units, bias=False), nn.Hardtanh()))
                case Maxpool(size, stride):
                    self.steps.append(nn.MaxPool2d(size, stride, size // 2 if size > stride else 0))
                case Drop(fraction):
                    self.steps.append(nn.Dropout(fraction))
                case Sum():
                    self.steps.append(nn.Identity())
        self.output = nn.Sequential(nn.Flatten(), nn.LazyLinear(classes, bias=False))
        self.is_sum = [isinstance(statement, Sum) for statement in parse(text)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [batch, classes]."""
        before_last = last = x  # the outputs of the two preceding conv layers
        for step, is_sum in zip(self.steps, self.is_sum, strict=False):
            x = before_last + last if is_sum else step(x)
            if isinstance(step, nn.Sequential):
                before_last, last = last, x
        outputs: Tensor = self.output(x)
        return outputs


def training_step(model: nn.Module, optimizer: torch.optim.SGD, x: Tensor, labels: Tensor) -> None:
    """Update the model once, on images that are already in memory."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
