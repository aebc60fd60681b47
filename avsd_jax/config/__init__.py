"""A configuration: its fields, what each may hold, and what stands for one that a file lacks."""
