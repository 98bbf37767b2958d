"""What a bundle is worth, for people: one HTML page and a model card.

`sections` turns figures into words and tables, `charts` into pictures, `page` and `card` set them.
"""
