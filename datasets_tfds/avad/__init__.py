"""The AVAD set."""
