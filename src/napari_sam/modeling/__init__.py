# SPDX-License-Identifier: Apache-2.0
"""The networks: torch.nn only, no file, no URL, no numpy image."""
