"""Weakly supervised saliency: pseudo ground truth from tags of whole videos."""
