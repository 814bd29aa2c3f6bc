"""Data formats, splits, and the trainer that makes LoRA adapters."""
