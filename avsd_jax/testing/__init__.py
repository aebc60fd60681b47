"""Shared helpers of tests and benchmarks."""
