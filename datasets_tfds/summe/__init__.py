"""The SumMe dataset."""
