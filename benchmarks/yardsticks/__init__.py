"""What the benchmarks compare with. A yardstick that is not installed is refused with one sentence, never replaced."""
