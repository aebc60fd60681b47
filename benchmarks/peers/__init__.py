"""Plain PyTorch networks with the layers of ours, only for timing; they load no checkpoint."""
