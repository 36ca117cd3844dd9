"""Information bounds of localization through a map.

Takes A `ChannelMap` and the measurement errors.
Gives Covariances that no unbiased estimator betters.
"""
