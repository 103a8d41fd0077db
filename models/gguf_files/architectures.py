"""The architectures whose GGUF files are read, by llama.cpp's names for them.

An entry or a tensor of a file that its architecture does not name is one that would be dropped, so the file is refused
with that name. Each architecture here was compared with llama.cpp; see tests/test_gguf_files.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.gguf_files import gemma, llama, others
from models.gguf_files.common import Architecture
from models.gguf_files.metadata import Metadata

KNOWN: Mapping[str, Architecture] = {**llama.ARCHITECTURES, **gemma.ARCHITECTURES, **others.ARCHITECTURES}


def architecture_of(metadata: Metadata) -> Architecture | None:
    """The architecture of a file, or None: a Llama with experts goes by llama, and is Mixtral in transformers."""
    name = metadata.architecture
    experts = name == "llama" and metadata.own("expert_count")
    return None if name == "mixtral" else KNOWN.get("mixtral" if experts else name)
