"""The SumMe set."""
