"""Studies: a frozen configuration, rows that hold everything found, figures drawn from the rows.

Takes a configuration.
Gives rows, figures and a report of one study each; see the modules.
"""
