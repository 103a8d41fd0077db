"""Tasks and labels: what is asked, how a candidate is scored, and how scored candidates become preferences."""
