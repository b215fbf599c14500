# SPDX-License-Identifier: Apache-2.0
"""The command line: reads arguments, calls the rooms below, writes files."""
