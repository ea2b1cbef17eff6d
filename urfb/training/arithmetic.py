"""The precision of a run's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in a run's precision within the context.

    'tf32' rounds the factors of convolutions and matrix products to 10 bits on a GPU. 'bfloat16' computes activities
    and error signals in bfloat16, but W and R stay float32. 'float32' and 'float64' mean just that, also on a GPU.
    """
    backends: Any = torch.backends
    products = (backends.cuda.matmul, backends.cudnn.conv)
    precisions = [product.fp32_precision for product in products]
    for product in products:
        product.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
            yield
    finally:
        for product, previous in zip(products, precisions, strict=True):
            product.fp32_precision = previous
