# SPDX-License-Identifier: Apache-2.0
"""A small memory of what was made lately, bounded in number and in bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LruCache(Generic[Value]):
    """Keeps the values used last, at most so many and so large.

    Parameters
    ----------
    max_items : int
        Most values kept; 0 keeps none.
    max_bytes : int or None
        Most bytes kept in all, None for no limit.
    keeps_last : bool
        Whether the value put last stays even if it alone is larger than that.
    """

    def __init__(
        self,
        max_items: int,
        max_bytes: int | None = None,
        *,
        keeps_last: bool = False,
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._n_safe = int(keeps_last)
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._nbytes = 0
        # A viewer may ask for one plane while another is being embedded.
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of values kept."""
        return len(self._values)

    def keys(self) -> list[Hashable]:
        """Return the keys of all values kept, the one used longest ago first."""
        with self._lock:
            return list(self._values)

    @property
    def nbytes(self) -> int:
        """Bytes of all values kept, as told by `put`."""
        return self._nbytes

    def get(self, key: Hashable) -> Value | None:
        """Return a value and mark it as used, or None."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Value, nbytes: int = 0) -> None:
        """Keep a value; those used longest ago go if there are too many."""
        with self._lock:
            self._forget(key)
            self._values[key] = (value, nbytes)
            self._nbytes += nbytes
            while self._is_full():
                self._forget(next(iter(self._values)))

    def forget(self, key: Hashable) -> None:
        """Drop one value if it is there."""
        with self._lock:
            self._forget(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._nbytes = 0

    def _is_full(self) -> bool:
        """Tell whether something has to go."""
        too_large = self._max_bytes is not None and self._nbytes > self._max_bytes
        n_items = len(self._values)
        return n_items > self._n_safe and (n_items > self._max_items or too_large)

    def _forget(self, key: Hashable) -> None:
        """Drop one value if it is there."""
        _, nbytes = self._values.pop(key, (None, 0))
        self._nbytes -= nbytes
