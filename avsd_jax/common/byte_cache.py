"""A cache bounded by bytes, for several threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class ByteCache:
    """Keeps the most recently used values while they fit in `capacity` bytes.

    Values need an attribute `nbytes`. A value is computed outside the lock: two threads that miss the same
    key at the same time both compute it, which costs time but never blocks the others.
    """

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Returns the number of bytes held."""
        return self._nbytes

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Returns the cached value of `key`, or else the result of `compute()`."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = compute()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._nbytes += value.nbytes
            while self._nbytes > self._capacity and self._values:
                _, dropped = self._values.popitem(last=False)
                self._nbytes -= dropped.nbytes
        return value
