# SPDX-License-Identifier: Apache-2.0
"""How good a model is: prompts made from the truth, scores, reports."""
