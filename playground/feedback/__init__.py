"""Feedback keeps battles, traces and votes: SQLAlchemy and plain values only.

It imports records, decoding.trace and errors of ours; never torch, gradio or models. Nothing is acknowledged before
COMMIT has returned, every write goes through `Database.writing`, and what must never be false (one vote a battle, a
vote only on two finished replies, no row without a notice) is a constraint of the schema, not a habit of the code.
"""
