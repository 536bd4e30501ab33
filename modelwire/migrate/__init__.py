"""`modelwire migrate`: programs written for LangChain, with their import lines rewritten. Needs libcst to read them."""
