"""The DIEM set."""
