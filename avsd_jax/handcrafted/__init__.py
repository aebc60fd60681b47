"""Saliency of images and of audio that is computed and not learned, and fusions of the two (survey, III and IV)."""
