# SPDX-License-Identifier: Apache-2.0
"""Which weights exist, where they lie, how they are fetched and read."""
