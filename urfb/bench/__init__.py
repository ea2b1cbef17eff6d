"""What a training step takes, measured beside the same network in plain PyTorch."""
