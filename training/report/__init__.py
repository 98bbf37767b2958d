"""The quality of a bundle, for people: one HTML page and a model card.

`sections` turns figures into words and tables, `charts` into pictures; `page` and `card` render both.
"""
