"""What users come in: files, globs, folders, partitions, objects in stores, rows of queries.

`opening` gives tables; `formats` and `text_lines` tell what files are and what is wrong with them.
Their rows are read by `engine.inputs.chunks`.
"""
