"""The AVAD dataset."""
