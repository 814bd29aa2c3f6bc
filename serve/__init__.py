"""vLLM plugins: aliases and hot swap, authentication, HTTP routes, and the launcher."""
