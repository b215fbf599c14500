# SPDX-License-Identifier: Apache-2.0
"""A light head that knows objects without prompts: foreground, boundary, centre.

Instance decoders of microscopy predict such maps (micro-sam, Archit et al. 2025, among
others); seeds and proposals come from them.
"""

from __future__ import annotations

from torch import Tensor, nn

N_OBJECT_MAPS = 3
FOREGROUND, BOUNDARY, CENTRE = range(N_OBJECT_MAPS)


class ObjectHead(nn.Module):
    """Object maps from the finest features.

    Parameters
    ----------
    channels : int
        Channels of the features at stride 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, N_OBJECT_MAPS, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to logits (B, 3, H, W).

        Channel 0 says whether there is an object, 1 whether its border is here, 2 how
        deep inside it: after a sigmoid the distance to the border divided by the
        object's largest.
        """
        out: Tensor = self.layers(x)
        return out
