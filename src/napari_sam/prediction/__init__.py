# SPDX-License-Identifier: Apache-2.0
"""From images and prompts to masks: numpy in, numpy out, torch inside."""
