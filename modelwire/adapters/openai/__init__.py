"""How OpenAI says a chat call. One folder a wire."""
