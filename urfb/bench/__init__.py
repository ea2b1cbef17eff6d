"""The time and memory of a training step, compared with the same network in plain PyTorch."""
