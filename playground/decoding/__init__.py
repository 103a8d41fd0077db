"""Decoding is pure: torch and the standard library only.

No Gradio, no database, no files, no environment, no transformers. `trace.py` holds plain values and imports no torch.
"""
