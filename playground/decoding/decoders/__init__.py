"""Ways to decode: each owns its rows and caches and is a coroutine of steps and forward passes (playground.decoding.forward).

`lockstep` serves every policy that decides from one step's logits and state; the others need rows, a model or a prompt
of their own.
"""
