"""Saliency metrics: pure functions on maps `[..., H, W]`, exact, deterministic, and compatible with jit and vmap.

Definitions follow the MIT benchmark's MATLAB code, which published tables use; `convention="pysaliency"` gives
that package's where it differs. Where the MATLAB code draws random numbers (the tie-breaking jitter of
AUC-Judd, the 100 splits of AUC-Borji and of the shuffled AUC) the exact expectation is computed instead, in
closed form. A NaN means "this frame has no such score": drop it from averages. Fixations
are masks of the size of the map, so any number per frame has the same shape; `fixation_map` builds them from lists.

A map counts as constant if its range is at most 1e-12 of its largest magnitude (1e-6 in float32, whose rounding
is coarser).

Results are float64 if an input is float64 (with `jax_enable_x64`), else float32.
"""

from avsd_jax.metrics.auc import auc_borji, auc_judd, s_auc
from avsd_jax.metrics.distribution import cc, kl, sim
from avsd_jax.metrics.fixations import fixation_map
from avsd_jax.metrics.location import information_gain, nss
from avsd_jax.metrics.suite import LOWER_IS_BETTER, METRICS, score
from avsd_jax.metrics.transport import check_emd, emd

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "auc_borji",
    "auc_judd",
    "cc",
    "check_emd",
    "emd",
    "fixation_map",
    "information_gain",
    "kl",
    "nss",
    "s_auc",
    "score",
    "sim",
]
