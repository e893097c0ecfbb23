"""Files that tinycnn writes: networks and trainings under way.

bounded.py     reading no more than is there
archive.py     arrays as one NPZ archive: read with distrust, written all or nothing
model.py       save_model, load_model
checkpoint.py  Checkpoint: a training to go on from
"""
