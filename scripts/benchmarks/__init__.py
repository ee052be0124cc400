"""The measurements of scripts/bench.py and scripts/bench_components.py, a file for each subject or a few;
`rows` has what they share, and `command` what the two commands do with them."""
