"""The six metrics together."""

from avsd_jax.metrics.auc import auc_judd, s_auc
from avsd_jax.metrics.distribution import cc, kl, sim
from avsd_jax.metrics.location import nss
from avsd_jax.metrics.maps import FixationMaps, Maps, Scores

METRICS = ("NSS", "CC", "SIM", "KL", "AUC-J", "s-AUC")


def score(
    pred: Maps,
    density: Maps,
    fixations: FixationMaps,
    shuffle_map: FixationMaps,
    max_fixations: int | None = None,
) -> dict[str, Scores]:
    """Every metric of `METRICS` for maps `[..., H, W]`: name -> `[...]`, NaN where there is no such score."""
    values = (
        nss(pred, fixations),
        cc(pred, density),
        sim(pred, density),
        kl(pred, density),
        auc_judd(pred, fixations, max_fixations),
        s_auc(pred, fixations, shuffle_map),
    )
    return dict(zip(METRICS, values, strict=True))
