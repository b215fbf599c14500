# SPDX-License-Identifier: Apache-2.0
"""The best score so far, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class EarlyStopping:
    """Counts evaluations without improvement.

    Attributes
    ----------
    patience : int
        So many of them end the run; 0 waits for ever.
    best : float
        Highest score so far.
    waited : int
        Evaluations since then.
    """

    patience: int
    best: float = -math.inf
    waited: int = 0

    def update(self, score: float) -> bool:
        """Take a score in; return whether it is the best so far. NaN never is."""
        if score > self.best:
            self.best, self.waited = score, 0
            return True
        self.waited += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether patience has come to its end."""
        return 0 < self.patience <= self.waited
