"""A search on a cluster
=====================

The grid search once more, on a Dask cluster: here on two processes of this machine; with the
address of a scheduler, ``Client("tcp://...:8786")``, on as many machines as it has. Each training
has one thread, and the same scores as anywhere.
"""

import joblib
from dask.distributed import Client
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from tinycnn.sklearn import CNNClassifier

if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    X = X.astype("float32")
    search = GridSearchCV(
        CNNClassifier(max_iter=10, random_state=0),
        {"channels": [(8,), (32,)], "shift": [0, 1]},
        cv=2,
    )
    client = Client(n_workers=2, threads_per_worker=1)
    with client, joblib.parallel_config("dask"):
        search.fit(X, y)
    print(f"best of {len(search.cv_results_['params'])}: {search.best_params_}")
