"""Training: from labelled images to parameters.

In the order of use:

    split.py         images held out for testing and validation
    augmentation.py  each epoch a little different: images moved and mirrored
    weighting.py     how much each image counts: class weights, image weights
    gradients.py     the gradient of a batch by parts: loss_and_gradient
    optim.py         what becomes of a gradient: SGD, Adam, AdamW
    schedules.py     how large the steps are, and when
    callbacks.py     what is told of every epoch and can stop training; EarlyStopping
    progress.py      what is shown meanwhile
    defaults.py      the recipe for those who choose nothing
    choices.py       from the names that people give to optimisers, schedules and the rest
    fitting.py       fit: the minibatch loop; evaluate
    contract.py      train: full-batch gradient descent in one function
"""
