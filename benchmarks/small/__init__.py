"""Small random models of every family, as folders and as GGUF files: what the table of families, the tests and the fuzzing run on."""
