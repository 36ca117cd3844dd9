"""What a channel map gives to communication: beams, channel estimates, delay alignment.

Takes `ChannelMap` and a position known with some error.
Gives Beam orders, prior-aided channel estimates, aligned delays.
"""
