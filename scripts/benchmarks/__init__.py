"""The measurements of scripts/bench.py, a file for each subject; `rows` has what they share."""
