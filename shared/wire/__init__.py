"""Wire formats: one module each, both sides of it, pure. Wires never import each other,
but for `lighton` and `paddle`, which are thin flavours of `openai`."""
