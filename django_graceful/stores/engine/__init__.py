"""The owner's logic over an ordered key-value map: who waits, who runs, what became of it. See docs/architecture.md."""
