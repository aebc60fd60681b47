"""The cases of `benchmarks.run`, found by their names; its docstring has their contract."""
