"""Channel counts of networks that are narrower or wider than the published ones."""


def scaled(channels: int, width: float) -> int:
    """Returns `channels * width` rounded to a multiple of 4, at least 4; the published number at width 1."""
    return max(4, 4 * round(channels * width / 4))
