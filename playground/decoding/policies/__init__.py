"""One file per family of policies. A policy decides from logits and hidden states alone; it imports no model.

A new policy is one file here, one line in catalogue.py and one test.
"""
