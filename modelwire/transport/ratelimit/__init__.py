"""The rate limiter: one for each provider, credential and model of a process. Pure but for `waiting`.

`limiter` decides, `rate` is what refusals have taught, `headers` what providers say, `registry` who shares which.
"""
