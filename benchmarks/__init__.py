"""Every file directly in this folder is one benchmark: `TITLE`, one line, and `run(asked: Asked) -> Result`.

`python -m playground bench` lists and runs them. A benchmark measures its yardstick in the same run, in turns, and says
how it was measured. `measure/` holds what they share, `yardsticks/` what they compare with.
"""
