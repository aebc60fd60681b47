"""The DIEM dataset."""
