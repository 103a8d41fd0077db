"""A forward pass of our own for Llama-like models on a CPU: weight-only kernels, ragged rows, the same bits in any company."""
