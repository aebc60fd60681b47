"""Import of published PyTorch checkpoints."""
