"""Maps against ground truth."""
