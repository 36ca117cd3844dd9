"""Generalised approximate message passing that learns visibility along with the image.

Takes The operator and samples.
Gives Posterior moments of the coefficients.
"""
