"""Sends calls: one generator for each call, a sync and an async driver that run it, and the connections below.

This package knows no wire and no Runnable.
"""
