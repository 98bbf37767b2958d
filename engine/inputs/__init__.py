"""Inputs: files, globs, folders, partitions, objects in stores, rows of queries.

`open` finds and opens tables, `formats` and `csv_checks` check files, and `chunks` reads the rows.
"""
