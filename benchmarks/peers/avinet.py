"""AViNet in plain PyTorch: ViNet whose deepest feature is a bilinear map of itself and SoundNet's."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peers import vinet

# Channels, kernel and max-pool of each block; the stride is 2, the padding half the kernel.
BLOCKS = ((16, 64, 8), (32, 32, 8), (64, 16, 1), (128, 8, 1), (256, 4, 4), (512, 4, 1), (1024, 4, 1))


class SoundNet(nn.Module):
    """SoundNet's seven blocks, on images of one column."""

    def __init__(self) -> None:
        super().__init__()
        channels = 1
        for number, (features, size, _) in enumerate(BLOCKS, start=1):
            setattr(self, f"conv{number}", nn.Conv2d(channels, features, (size, 1), (2, 1), (size // 2, 0)))
            setattr(self, f"batchnorm{number}", nn.BatchNorm2d(features))
            channels = features

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Maps [B, 1, S, 1] to [B, 1024, N, 1]."""
        x = waveform
        for number, (_, _, pool) in enumerate(BLOCKS, start=1):
            x = F.relu(getattr(self, f"batchnorm{number}")(getattr(self, f"conv{number}")(x)))
            x = F.max_pool2d(x, (pool, 1)) if pool > 1 else x
        return x


class Network(nn.Module):
    """AViNet for 32 frames; by default of 224x384, with 70560 samples.

    Args:
        grid: rows and columns of the deepest feature, a thirty-second of the frame's.
        steps: of SoundNet's output.
    """

    def __init__(self, grid: tuple[int, int] = (7, 12), steps: int = 3) -> None:
        super().__init__()
        self.visual_model, self.audionet = vinet.Network(), SoundNet()
        self.pool = nn.MaxPool3d((4, 1, 1), (2, 1, 2))
        rows, columns = grid
        self.bilinear = nn.Bilinear(rows * -(-columns // 2), steps, 4 * rows * columns)

    def forward(self, video: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        """Maps a clip [B, 3, 32, 224, 384] with audio [B, 1, S, 1] to the map of its last frame."""
        *taps, deepest = self.visual_model.backbone(video)
        seen = self.pool(deepest).flatten(2)
        fused = self.bilinear(seen.contiguous(), self.audionet(audio)[..., 0].contiguous())
        return self.visual_model.decoder(fused.view(deepest.shape), taps)
