# SPDX-License-Identifier: Apache-2.0
"""Between an annotator and napari's layers: napari, but no Qt."""
