"""The providers: a row of data for each, and the public classes of chat models."""
