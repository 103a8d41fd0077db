"""Ways to decode: each owns its rows and caches and is a generator of LaneSteps (see playground.decoding.session.Decoder).

`lockstep` serves every policy that decides from one step's logits and state; the others need rows, a model or a prompt
of their own.
"""
