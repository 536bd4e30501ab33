"""The subcommands of `modelwire`, such as `ask`, `chat`, `batch` and `config`.

The function `register` of a module declares its commands; they import what they need when they run. Answers go to
standard output, everything else to standard error.
"""
