"""`modelwire migrate`: rewrites the import lines of programs written for LangChain.

It needs libcst to parse them.
"""
