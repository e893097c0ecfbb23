"""Which network is the best one?
==============================

A grid search in two processes, on half of the digits.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from tinycnn.sklearn import CNNClassifier

if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X.astype("float32"), y, train_size=0.5, stratify=y, random_state=0
    )
    search = GridSearchCV(
        CNNClassifier(max_iter=20, random_state=0),
        {"channels": [(8,), (32,)], "shift": [0, 1]},
        cv=3,
        n_jobs=2,
    )
    search.fit(X_train, y_train)
    print(f"best of {len(search.cv_results_['params'])}: {search.best_params_}")
    print(f"accuracy {search.best_score_:.1%} in the search, ", end="")
    print(f"{search.score(X_test, y_test):.1%} on digits that it has not seen")
