# SPDX-License-Identifier: Apache-2.0
"""Qt panels: they read fields and say what the user wants."""
