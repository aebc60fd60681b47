"""Selection of clips from a video: `avsd_jax.data.samplers.<name>.Sampler`."""

from typing import Any

from avsd_jax.common.by_name import build


def create(name: str, /, **options: Any) -> Any:
    """Builds `avsd_jax.data.samplers.<name>.Sampler(**options)`.

    Raises:
        InputError: no module of that name, no such option (the message lists the existing ones), or a wrong value.
    """
    return build(__name__, name, "sampler", "Sampler", options)
