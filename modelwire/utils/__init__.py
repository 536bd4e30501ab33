"""Paths that LangChain scripts import from; what they name lives elsewhere."""
