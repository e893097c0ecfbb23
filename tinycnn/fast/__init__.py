"""The fast path: batches of images through fused kernels, on several threads.

In the order in which a network meets them:

    dispatch.py   which build of the kernels this CPU gets
    threads.py    how many threads there are, and who works on them
    plan.py       from a list of layers to a table of operations, if the kernels have them all
    engine.py     FastPath: forward, backward and training on that table
"""
