# SPDX-License-Identifier: Apache-2.0
"""The model's fast forms: the same answers as `modeling`, sooner."""
