"""Figures side by side with their limits: `python -m bench [name …] [--quick]`. They are shown, never asserted."""
