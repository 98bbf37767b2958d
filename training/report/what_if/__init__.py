"""The what-if page: a bundle's own scorer in the browser, with a slider for every feature.

`typical` makes the users that it starts from, `facts` what it says of features, segments and
actions, `page` sets both and the runtime as one file.
"""
