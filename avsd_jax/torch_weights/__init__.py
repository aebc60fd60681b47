"""Weights of published PyTorch checkpoints."""
