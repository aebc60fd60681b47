"""The PyTorch networks beside which ours are timed compute the same; needs the extra `bench`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax.nn.soundnet import MIN_SAMPLES, min_samples
from avsd_jax.torch_import import options, to_variables
from benchmarks.networks import NETWORKS, UNISAL

torch = pytest.importorskip("torch")

SIZES = {
    "vinet": ((), {"video": (32, 32, 64, 3)}),
    "avinet": (((1, 2), 1), {"video": (32, 32, 64, 3), "audio": (MIN_SAMPLES,)}),
    "stavis": ((), {"video": (16, 32, 32, 3), "audio": (min_samples(2),)}),
    "stanet": ((), {"video": (3, 64, 64, 3), "spectrogram": (257, 48)}),
    "unisal": ((), {"video": (3, 64, 96, 3)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("network", [*NETWORKS, UNISAL], ids=lambda network: network.name)
def test_a_peer_is_the_same_function(network) -> None:
    arguments, shapes = SIZES[network.name]
    torch.manual_seed(0)
    peer = type(network.peer())(*arguments).eval()
    # As PyTorch draws them, the maps of these networks are almost constant.
    drawn = {"stavis": (), "unisal": torch.nn.Conv2d}.get(network.name, torch.nn.Conv3d)
    for module in peer.modules():
        if isinstance(module, drawn):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    rng = np.random.default_rng(0)
    batch = {name: rng.standard_normal((2, *shape), np.float32) for name, shape in shapes.items()}
    with torch.inference_mode():
        expected = peer(*map(torch.from_numpy, map(np.ascontiguousarray, network.peer_inputs(batch)))).numpy()
    state = {name: value.numpy() for name, value in peer.state_dict().items()}
    variables = to_variables(network.name, state)
    model = network.model(**options(network.name, state))
    found = jax.jit(lambda variables, batch: model.apply(variables, batch)["saliency"])(variables, batch)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.ptp(expected))


def test_the_losses_are_ours() -> None:
    from avsd_jax import losses
    from benchmarks.cases.training_step import LOSSES as WEIGHTS
    from benchmarks.peers import losses as theirs

    rng = np.random.default_rng(0)
    logits, density = rng.standard_normal((2, 3, 8, 12), np.float32)
    density, fixations = abs(density) / 5, np.float32(density > 1)
    batch = {"density": density, "fixations": fixations}
    pred = 1 / (1 + np.exp(-logits))
    found = {"vinet": (theirs.divergence, pred), "stavis": (theirs.stavis, logits)}
    for name, (loss, given) in found.items():
        output = {"saliency": jnp.asarray(pred), "logits": jnp.asarray(logits)}
        terms = losses.compute(output, batch, tuple(WEIGHTS[name]))
        ours = losses.total({key: values.mean() for key, (values, _) in terms.items()}, WEIGHTS[name], 1.0)
        np.testing.assert_allclose(loss(*map(torch.from_numpy, (given, density, fixations))), ours, rtol=1e-5)
