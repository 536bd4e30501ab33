"""The measurements the README quotes, and how to repeat them: `make bench`, or `python -m benchmarks --help`."""
