"""Several runs compared: their plan, its checks, the report."""
