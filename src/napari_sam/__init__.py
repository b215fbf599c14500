# SPDX-License-Identifier: Apache-2.0
"""Segment Anything for napari, scripts and the command line.

Public names are read from the stub beside this file and imported when first used, so
that ``import napari_sam`` costs nothing: no torch, no Qt, no napari.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
