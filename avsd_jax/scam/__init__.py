"""Weakly supervised saliency: pseudo ground truth maps from tags of whole videos."""
