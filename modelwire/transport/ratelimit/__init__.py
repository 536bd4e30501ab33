"""The rate limiter: one for each provider, credential and model of a process. Pure but for `waiting`.

`limiter` grants permits, `rate` learns from refusals, `headers` reads what providers advertise, `registry` finds the
limiter that a call shares with others.
"""
