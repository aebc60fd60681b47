"""Weakly supervised saliency: from tags of whole videos to maps that stand for where people look."""
