"""Reports in the layouts of other tools, one module a layout.

Takes `Reports`.
Gives files that those tools, and `reports.importing`, read.
"""
