# SPDX-License-Identifier: GPL-2.0
"""The book, for Sphinx: make doc."""

project = "anon_vma_lazy"
author = "the anon_vma_lazy developers"
extensions = ["sphinx.ext.graphviz"]
graphviz_output_format = "svg"
# It is included.
exclude_patterns = ["benchmark-table.rst"]
