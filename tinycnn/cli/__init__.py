"""The command line: ``tinycnn train``, ``evaluate``, ``predict`` and ``info``.

    app.py         main: runs a command; errors in one line, exit codes, Ctrl-C
    streams.py     what goes to the terminal, safe to show
    parser.py      what can be typed: commands, options, help
    options.py     the options of train, checked before data are read
    sources.py     the data of a command: training, validation and test part
    train.py       tinycnn train
    evaluate.py    tinycnn evaluate
    predict.py     tinycnn predict
    info.py        tinycnn info
"""

from tinycnn.cli.app import main

__all__ = ["main"]
