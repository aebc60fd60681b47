"""AViMoS and its successor of NTIRE 2026."""
