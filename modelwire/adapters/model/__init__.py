"""Chat models: their base classes, settings, calls and results."""
