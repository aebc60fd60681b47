"""A process that holds the folder of a run."""

# Locks the file given, as a run does, without the seconds that importing jax takes.
HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("process 7 on host", file=file, flush=True)
print("held", flush=True)
time.sleep(60)
"""
