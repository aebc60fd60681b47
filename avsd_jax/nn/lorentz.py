"""The Lorentz model of hyperbolic space, by the space components of its points (Desai et al., "MERU", ICML 2023).

A point x of curvature -c has the time component sqrt(1 / c + |x|^2). Lengths of zero have finite gradients here.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# One for all vectors, or [*n, 1].
Curvature = Float[Array, "*#k"] | float

# Bounds of arguments, by which the published code avoids infinite values.
_LEAST_NORM, _LEAST_COSH, _LEAST_LOG_NORM = 1e-8, 1 + 1e-4, 1e-4
_MOST_SINH = math.asinh(2**15)


def norm(x: Float[Array, "*n d"]) -> Float[Array, "*n 1"]:
    """Returns the length of vectors; zero with a gradient of zero where a vector is zero."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def exp_map0(x: Float[Array, "*n d"], curvature: Curvature) -> Float[Array, "*n d"]:
    """Maps tangent vectors at the origin to points."""
    length = jnp.sqrt(curvature) * norm(x)
    return jnp.sinh(jnp.clip(length, _LEAST_NORM, _MOST_SINH)) * x / jnp.maximum(length, _LEAST_NORM)


def log_map0(x: Float[Array, "*n d"], curvature: Curvature) -> Float[Array, "*n d"]:
    """Maps points to tangent vectors at the origin; very near to it, to vectors that are a little too long."""
    time = jnp.sqrt(1 + curvature * jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    distance = jnp.arccosh(jnp.maximum(time, _LEAST_COSH))
    return distance * x / jnp.maximum(jnp.sqrt(curvature) * norm(x), _LEAST_LOG_NORM)


def time_component(x: Float[Array, "*n d"], curvature: Curvature) -> Float[Array, "*n 1"]:
    """Returns the time components of points."""
    return jnp.sqrt(1 / curvature + jnp.sum(jnp.square(x), axis=-1, keepdims=True))


def distance(x: Float[Array, "*#n d"], y: Float[Array, "*#n d"], curvature: Curvature) -> Float[Array, "*n 1"]:
    """Returns geodesic distances; those below arccosh(1 + 1e-4) / sqrt(c) are this."""
    inner = jnp.sum(x * y, -1, keepdims=True) - time_component(x, curvature) * time_component(y, curvature)
    return jnp.arccosh(jnp.maximum(-curvature * inner, _LEAST_COSH)) / jnp.sqrt(curvature)


def distance_to_origin(x: Float[Array, "*n d"], curvature: Curvature) -> Float[Array, "*n 1"]:
    """Returns geodesic distances to the origin, without a gradient at the origin itself."""
    time = jnp.sqrt(curvature) * time_component(x, curvature)
    away = time > 1
    return jnp.where(away, jnp.arccosh(jnp.where(away, time, 2)), 0) / jnp.sqrt(curvature)


def half_aperture(x: Float[Array, "*n d"], curvature: Curvature) -> Float[Array, "*n 1"]:
    """Returns the half angles, radians, of the cones of what points entail; near the origin nearly a right angle."""
    sine = 2 * 0.1 / (norm(x) * jnp.sqrt(curvature) + 1e-4)
    return jnp.arcsin(jnp.clip(sine, -1 + 1e-4, 1 - 1e-4))


def exterior_angle(x: Float[Array, "*n d"], y: Float[Array, "*n d"], curvature: Curvature) -> Float[Array, "*n 1"]:
    """Returns the exterior angles, radians, at x in the triangles of the origin, x and y."""
    x_time, y_time = (time_component(point, curvature) for point in (x, y))
    inner = curvature * (jnp.sum(x * y, -1, keepdims=True) - x_time * y_time)
    denominator = norm(x) * jnp.sqrt(jnp.maximum(jnp.square(inner) - 1, 1e-8)) + 1e-8
    # In float32 the published bound, 1 - 1e-8, is 1, where the angle has no gradient.
    cosine = jnp.clip((y_time + inner * x_time) / denominator, -1 + 1e-6, 1 - 1e-6)
    return jnp.arccos(cosine)


def beyond_cone(
    apex: Float[Array, "*n d"], point: Float[Array, "*n d"], curvature: Curvature, share: float
) -> Float[Array, "*n 1"]:
    """Returns by how many radians points lie off the cones of what entails them; 0 within a cone.

    Args:
        apex: what entails them.
        point: the points.
        curvature: of the space.
        share: of the cones' half angles that counts.
    """
    return jnp.maximum(exterior_angle(apex, point, curvature) - share * half_aperture(apex, curvature), 0)


def held(value: Float[Array, "*n"], low: float, high: float) -> Float[Array, "*n"]:
    """Returns a parameter within bounds; beyond them it has the gradient that it would have at the bound."""
    return value + lax.stop_gradient(jnp.clip(value, low, high) - value)


def bounded(x: Float[Array, "*n d"], most: float) -> Float[Array, "*n d"]:
    """Returns vectors of at most this length."""
    length = jnp.maximum(norm(x), 1e-6)
    return x * (jnp.minimum(length, most) / length)


def curvature_of(logarithm: Float[Array, ""]) -> Float[Array, ""]:
    """Returns the curvature of its learned logarithm, between 0.1 and 10."""
    return jnp.exp(held(logarithm.astype(jnp.float32), math.log(0.1), math.log(10)))


def factor_of(logarithm: Float[Array, ""]) -> Float[Array, ""]:
    """Returns a learned factor on tangent vectors, at most 1, of its logarithm."""
    return jnp.exp(held(logarithm.astype(jnp.float32), -jnp.inf, 0.0))
