"""Candidates, features, losses and figures of the learned heads. Imports no Gradio, database or user interface.

The way through: candidates (labelled by rewards) → preference/1 file → features → lpo → train → evaluate → card.
"""
