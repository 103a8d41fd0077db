"""What the benchmarks share: what was asked, rounds in turn, what a run is measured on, and the result's two forms."""
