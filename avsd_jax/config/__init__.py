"""Configurations: their fields, with valid values and defaults."""
