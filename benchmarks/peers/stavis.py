"""STAViS in plain PyTorch: three stages of a 3-D ResNet-50 with attention, SoundNet, and a bilinear localisation."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peers.avinet import BLOCKS


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 (with the stride) and 1x1x1 convolution, and a shortcut."""

    def __init__(self, i: int, width: int, stride: int, first: bool):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(i, width, 1, bias=False), nn.BatchNorm3d(width)
        self.conv2, self.bn2 = nn.Conv3d(width, width, 3, stride, 1, bias=False), nn.BatchNorm3d(width)
        self.conv3, self.bn3 = nn.Conv3d(width, 4 * width, 1, bias=False), nn.BatchNorm3d(4 * width)
        shortcut = [nn.Conv3d(i, 4 * width, 1, stride, bias=False), nn.BatchNorm3d(4 * width)]
        self.downsample = nn.Sequential(*shortcut) if first else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, i, T, H, W] to [B, 4 * width, T', H', W']."""
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _stage(i: int, width: int, depth: int, stride: int) -> nn.Module:
    later = [Bottleneck(4 * width, width, 1, False) for _ in range(depth - 1)]
    return nn.Sequential(Bottleneck(i, width, stride, True), *later)


def _centre(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    top, left = ((have - want) // 2 for have, want in zip(x.shape[2:], size, strict=True))
    return x[:, :, top : top + size[0], left : left + size[1]]


class DSAM(nn.Module):
    """Attention and side map of a level."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.side_prep = nn.Conv2d(channels, 16, 3, padding=1)
        self.score_dsn = nn.Conv2d(16, 1, 1)
        self.upscale = nn.ConvTranspose2d(16, 16, 2 * stride, stride, bias=False)
        self.upscale_ = nn.ConvTranspose2d(1, 1, 2 * stride, stride, bias=False)

    def forward(self, x: torch.Tensor, size: torch.Size) -> tuple[torch.Tensor, ...]:
        """Returns the attention [B, 1, 1, h, w], the side map [B, 16, H, W] and its logits [B, 1, H, W]."""
        prepared = self.side_prep(x.mean(2))
        scores = self.score_dsn(prepared)
        attention = scores.flatten(1).softmax(1).view(scores.shape)[:, None]
        return attention, _centre(self.upscale(prepared), size), _centre(self.upscale_(scores), size)


def _soundnet() -> nn.Sequential:
    """Builds SoundNet on images of one row, with a pool of two at the end."""
    layers: list[nn.Module] = []
    channels = 1
    for features, size, pool in BLOCKS:
        layers += [nn.Conv2d(channels, features, (1, size), (1, 2), (0, size // 2)), nn.BatchNorm2d(features)]
        pool = 2 if features == BLOCKS[-1][0] else pool
        layers += [nn.ReLU(), nn.MaxPool2d((1, pool))] if pool > 1 else [nn.ReLU()]
        channels = features
    return nn.Sequential(*layers)


class Localisation(nn.Module):
    """A bilinear map of each place and the audio."""

    def __init__(self) -> None:
        super().__init__()
        self.affine_rgb, self.affine_audio = nn.Linear(512, 128), nn.Linear(1024, 128)
        self.w_a_rgb = nn.Bilinear(128, 128, 64)

    def forward(self, seen: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """Maps [B, 512, h, w] and [B, 1024] to [B, 64, h, w]."""
        places = F.relu(self.affine_rgb(seen.flatten(2).transpose(1, 2)))
        audio = F.relu(self.affine_audio(heard))[:, None].expand(-1, places.shape[1], -1)
        out = self.w_a_rgb(places.contiguous(), audio.contiguous())
        return out.transpose(1, 2).reshape(len(seen), -1, *seen.shape[2:])


class Network(nn.Module):
    """STAViS, audio-visual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False), nn.BatchNorm3d(64)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        self.layer1, self.layer2 = _stage(64, 64, 3, 1), _stage(256, 128, 4, 2)
        self.layer3 = _stage(512, 256, 6, 2)
        levels = ((64, 2), (256, 4), (512, 8), (1024, 16))
        self.score_dsn = nn.ModuleList([DSAM(channels, stride) for channels, stride in levels])
        self.fuse, self.fuseav = nn.Conv2d(64, 1, 1), nn.Conv2d(128, 1, 1)
        self.soundnet8, self.fusion3 = _soundnet(), Localisation()

    def logits(self, video: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        """Maps a clip [B, 3, T, H, W] with audio [B, 1, 1, S] to logits [B, H, W]."""
        size, sides = video.shape[3:], []
        x = F.relu(self.bn1(self.conv1(video)))
        for level, dsam in enumerate(self.score_dsn):
            if level == 2:
                middle = x.shape[2] // 2
                seen = x[:, :, middle - 1 : middle + 1].mean(2)
            attention, side, _ = dsam(x, size)
            sides.append(side)
            if level < 3:
                x = x * (1 + attention)
                x = (self.layer1, self.layer2, self.layer3)[level](x if level else self.maxpool(x))
        heard = self.soundnet8(audio).mean(3)[..., 0]
        found = F.interpolate(self.fusion3(seen, heard), size, mode="bilinear")
        return self.fuseav(torch.cat([*sides, found], 1))[:, 0]

    def forward(self, video: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        """Returns the map [B, H, W]."""
        return self.logits(video, audio).sigmoid()
