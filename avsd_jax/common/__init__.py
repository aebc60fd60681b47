"""Utilities for all rooms: atomic files, selection by name, kinds of values, worker processes."""
