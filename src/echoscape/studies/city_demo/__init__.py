"""The demonstration in a ray-traced city.

Takes The sample city.
Gives A folder of tables, figures and a report.
"""
