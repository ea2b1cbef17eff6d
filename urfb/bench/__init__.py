"""What a training step takes, measured against the same network in plain PyTorch."""
