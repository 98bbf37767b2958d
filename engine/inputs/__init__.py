"""Users on their way in: files, folders, standard input, objects in stores, rows of queries.

Read `open` first: it finds the files and opens each as a table. `chunks` reads the rows of tables.
"""
