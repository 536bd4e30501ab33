"""How Anthropic says a chat call. One folder a wire."""
