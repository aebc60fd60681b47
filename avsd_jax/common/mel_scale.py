"""The mel scale of pitch, as HTK's: 1127 ln(1 + f / 700)."""

import numpy as np
from jaxtyping import Float


def mel(hertz: float | Float[np.ndarray, " n"]) -> float | Float[np.ndarray, " n"]:
    """Returns frequencies in Hz as mel."""
    return 1127 * np.log1p(hertz / 700)


def hertz(mel: float | Float[np.ndarray, " n"]) -> float | Float[np.ndarray, " n"]:
    """Returns mel as frequencies in Hz."""
    return 700 * np.expm1(mel / 1127)
