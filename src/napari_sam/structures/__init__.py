# SPDX-License-Identifier: Apache-2.0
"""Frozen numpy values and pure functions on them."""
