"""How long OpenMP's threads wait awake for their next work: said before torch is imported, which loads OpenMP.

PyTorch's wheels for Linux carry GNU's OpenMP. Its threads spin for some milliseconds before they sleep, longer than a
scheduler's time slice: beside another busy program they burn the time that the thread they wait for needs. SPINS outlast the
pauses within a pass of the model and no more, so that nothing is lost on an idle machine, where sleeping threads would
halve the speed.
"""

from __future__ import annotations

from collections.abc import Mapping

SPINS = "10000"
CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # whoever sets one of these has decided


def brief_waits(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to this environment of the process and its children; nothing where the user has decided."""
    return {} if any(name in environment for name in CHOSEN) else {"GOMP_SPINCOUNT": SPINS}
