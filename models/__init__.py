"""Torch modules and weights. Nothing here imports the playground, Gradio or SQLAlchemy."""
