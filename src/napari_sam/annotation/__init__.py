# SPDX-License-Identifier: Apache-2.0
"""Rules of annotation: numpy and psygnal, no torch, no napari, no Qt."""
