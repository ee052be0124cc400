"""`hiwire compare`: measures the variants of hiwire on the engines that are here.

variants          what is compared, and how it comes to be
measure, subject  the clock, and what is done while it runs
run               a whole comparison, as a report: values that JSON can hold (docs/compare.schema.json)
findings          what follows from the numbers of one report, or of two
report, plots     a report as tables of text, as Markdown and as pictures, and where they go
method.md         what every report in Markdown says at its end: how to read the numbers
"""
