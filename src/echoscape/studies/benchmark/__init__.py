"""Benchmark: frozen tasks, any method, rows with versions and hashes, and a leaderboard.

Takes names of tasks and methods, a method being a Python callable or a program.
Gives rows, and a page made of nothing but rows.
"""
