"""What the report's first page tells marketing: whom to contact, how many, with what, and why.

`audience` holds the figures of the slider, `plan` everything else.
"""
