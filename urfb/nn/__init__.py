"""Networks with separate feedback weights: notation, layers, rules, losses and alignment.

This file imports nothing, and `notation`, `networks` and `rules` are plain Python, so planning a grid needs no torch.
"""
