"""Measures over finished replies. Imports no Gradio, database or user interface."""
