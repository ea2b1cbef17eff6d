"""The asymmetric core: notation, layers with separate feedback weights, rules, losses and alignment.

Nothing is imported here: `notation`, `networks` and `rules` are plain Python, so that a grid is planned without torch.
"""
