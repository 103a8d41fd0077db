"""GGUF files as llama.cpp reads them: what this room does not read as llama.cpp does, it refuses by name."""
