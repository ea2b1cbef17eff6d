"""The paper's figures, drawn from a results store's frames and nothing else."""
