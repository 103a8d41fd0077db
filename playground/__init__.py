"""The playground for adaptive decoding: prompt → decoding → trace → heatmap → vote → training → checkpoint."""
