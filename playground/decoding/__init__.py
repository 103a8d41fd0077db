"""Decoding is pure: torch, Numba and the standard library only.

No Gradio, no database, no files, no environment, no other process, no transformers. `trace.py` holds plain values and imports no torch.
"""
