"""Help for tests and benchmarks."""
