"""The wires: the HTTP formats of the chat APIs, one folder each. No I/O here."""
