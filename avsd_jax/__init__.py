"""Audio-visual saliency detection in JAX."""
