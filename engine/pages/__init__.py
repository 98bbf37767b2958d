"""Pages for people: blocks of words, tables and pictures, rendered as HTML or as lines of text.

Needs the extra `[report]`. What the blocks say is decided by those who build them.
"""
