"""`modelwire migrate`: rewrites the import lines of programs written for LangChain. Needs libcst."""
