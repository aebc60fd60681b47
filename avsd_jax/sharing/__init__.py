"""Sharing of models: a small folder with weights, record and model card, and its upload to a hub."""
