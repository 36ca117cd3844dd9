"""Steps from one version of the schema to the next, one module each.

Takes a database of any earlier version, or an empty one.
Gives one of this package's version.
"""
