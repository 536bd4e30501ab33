from contextlib import aclosing as aclosing
