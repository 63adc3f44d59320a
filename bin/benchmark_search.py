"""Holds the search against what people would use instead, at equal labels.

Accuracies are those of a table, or, around a teacher, of the formula in
`benchmarks.py`: no network is trained.  One JSON line a run is appended to
METHOD.jsonl in --output; runs that are there already are not run again, unless
they were told to stop at fewer labels.  RESULTS.md and its pictures are over
all that is there.
"""

import dataclasses
import json
import logging
import pathlib
import sys
import time

from absl import app, flags

from archcomp_tf import quiet

_PROBLEM = flags.DEFINE_string(
    "problem",
    "vgg11",
    "A table: the path of a .csv file, that of NAS-Bench-Macro or one with the "
    "columns architecture, accuracy, params.  Or a name in teachers.py or the "
    "text form of an architecture: the formula around it.",
)
_SINGLE = flags.DEFINE_bool(
    "single_trainings",
    False,
    "With a table: labels are one training of each network, not the mean.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results.")
_SEEDS = flags.DEFINE_integer("seeds", 20, "How many seeds to run.", 1)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.", 0)
_LABELS = flags.DEFINE_integer("num_labels", 200, "Labels of a run.", 16)
_WEIGHTS = flags.DEFINE_list(
    "weights", ["0.05"], "Of log10 parameters in the objective, LogParams."
)
_BUDGETS = flags.DEFINE_list(
    "budgets",
    [],
    "In place of weights: how many parameters are allowed, objective Budget.",
)
_METHODS = flags.DEFINE_list(
    "methods",
    ["search", "regularized_evolution", "optuna_tpe", "random_search"],
    "What to run; `all` for everything.",
)

# What a part of the search brings shows where the narrowed teachers, which are
# near the best from the beginning, are left out.
_NO_START = {"narrowed": False}
# Method -> function, and what differs from its defaults.
_VARIANTS = {
    "search": ("search", {}),
    "search_without_narrowed": ("search", _NO_START),
    "search_descent_alone": ("search", _NO_START | {"num_neighbours": 0}),
    "search_neighbours_alone": ("search", _NO_START | {"num_starts": 0}),
    "search_one_head": ("search", _NO_START | {"num_heads": 1}),
    "search_one_round": ("search", _NO_START | {"labels_a_round": 10**6}),
    "search_without_doubt": ("search", _NO_START | {"doubts": False}),
    "expected_improvement": ("expected_improvement", {}),
    "regularized_evolution": ("regularized_evolution", {}),
    "optuna_tpe": ("optuna_tpe", {}),
    "optuna_nsga2": ("optuna_nsga2", {}),
    "keras_tuner_bayesian": ("keras_tuner_bayesian", {}),
    "random_search": ("random_search", {}),
    "width_scaling": ("width_scaling", {}),
    # What the search's first proposals take from the teacher, and no search.
    "separable_scaling": ("width_scaling", {"swapped": "separable_conv"}),
    "paper": ("paper", {}),
}
_EXTRA = "benchmarks"  # of setup.py, what is needed here
_ON_EMBEDDING = ("search", "expected_improvement")
_FROM_TEACHER = ("search", "paper", "width_scaling")
# Labels at which the regret is told; at 18 the search has made two proposals.
_SHOWN = (18, 20, 30, 50, 60, 100, 200, 400)
_NOISE = 0.003  # of the formula's labels
_NUM_WIDTHS = 19  # 77 choices in each of VGG-11's eight convolutions: 1.2e15
_LOWEST_ACCURACY = 0.1  # of ten classes; what hypervolumes begin at


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    quiet.load_keras()
    logging.getLogger("archcomp_tf").setLevel(logging.WARNING)
    output = pathlib.Path(_OUTPUT.value)
    try:
        problem = _problem()
        methods = _methods(problem)
        objectives = _objectives()
        output.mkdir(parents=True, exist_ok=True)
        _check_folder(output)
        first = _FIRST_SEED.value
        for seed in range(first, first + _SEEDS.value):
            embeddings = {}
            for objective in objectives:
                for method in methods:
                    path = output / f"{method}.jsonl"
                    done = _runs(path).get((seed, objective))
                    if not done or done["max_labels"] < _LABELS.value:
                        run = _measure(
                            problem, method, seed, objective, embeddings
                        )
                        with open(path, "a", encoding="utf-8") as file:
                            file.write(json.dumps(run) + "\n")
        text = _report(output)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


def _name() -> str:
    """What the runs of a problem say that they are of."""
    problem = _PROBLEM.value
    return pathlib.Path(problem).stem if problem.endswith(".csv") else problem


def _table_digest() -> str | None:
    """Tells a table from others of its name; a formula has none."""
    from archcomp_tf.given_teacher import file_digest

    problem = _PROBLEM.value
    return file_digest(problem) if problem.endswith(".csv") else None


def _check_folder(output: pathlib.Path) -> None:
    """Raises ValueError where a folder holds the runs of another problem."""
    digest = _table_digest()
    for path in output.glob("*.jsonl"):
        for run in _runs(path).values():
            # Runs of before do not say it.
            if run.get("table", digest) != digest:
                raise ValueError(
                    f"--output: {output} holds runs of another {_name()}.csv; "
                    "expected a folder of this one."
                )
            there = run["problem"], run.get("single_trainings", False)
            if there != (_name(), _SINGLE.value):
                raise ValueError(
                    f"--output: {output} holds runs of {there[0]}"
                    f"{' in single trainings' * there[1]}; expected a folder "
                    f"of {_name()}{' in single trainings' * _SINGLE.value}."
                )


def _methods(problem) -> list[str]:
    """The methods that the flag asks for; what they need is there."""
    from archcomp_tf.benchmarks import TabularBenchmark
    from archcomp_tf.environment import check_installed

    benchmark, teacher = problem
    is_table = isinstance(benchmark, TabularBenchmark)
    kinds = {None, *benchmark.space.swapped(teacher)}
    possible = [
        method
        for method, (name, options) in _VARIANTS.items()
        # Narrowed teachers are in no table.
        if options.get("swapped") in kinds
        and not (is_table and name == "width_scaling")
    ]
    methods = possible if _METHODS.value == ["all"] else _METHODS.value
    if unknown := set(methods) - set(possible):
        raise ValueError(
            f"--methods: expected some of {', '.join(possible)}; got "
            f"{', '.join(sorted(unknown))}."
        )
    check_installed("matplotlib", _EXTRA)
    if any(method.startswith("optuna") for method in methods):
        check_installed("optuna", _EXTRA)
    return methods


def _objectives() -> list:
    """What is looked for, one after the other."""
    from archcomp_tf.objective import Budget, LogParams

    flag, made = (
        (_BUDGETS, lambda text: Budget(int(text)))
        if _BUDGETS.value
        else (_WEIGHTS, lambda text: LogParams(float(text)))
    )
    try:
        return [made(text) for text in flag.value]
    except ValueError as error:
        raise ValueError(f"--{flag.name}: {error}") from error


def _problem():
    """A benchmark, and the network that is to be made smaller."""
    from archcomp_tf.benchmarks import SyntheticBenchmark, read_benchmark
    from archcomp_tf.search_space import SearchSpace
    from archcomp_tf.teachers import named

    if _PROBLEM.value.endswith(".csv"):
        table = read_benchmark(_PROBLEM.value)
        return table, max(table.architectures, key=table.count_params)
    try:
        teacher = named(_PROBLEM.value)
    except ValueError as error:
        raise ValueError(
            f"--problem: expected the path of a .csv file, or a network: "
            f"{error}"
        ) from error
    # Not the swaps of today, so that the problem stays what it was.
    space = SearchSpace.around(
        teacher, num_widths=_NUM_WIDTHS, swaps=("separable_conv",)
    )
    return SyntheticBenchmark(space, noise=_NOISE), teacher


def _measure(problem, method, seed, objective, embeddings) -> dict:
    import numpy as np

    from archcomp_tf import baselines, evaluation
    from archcomp_tf.benchmarks import highest_objective
    from archcomp_tf.compression import search
    from archcomp_tf.environment import environment
    from archcomp_tf.objective import Budget

    benchmark, teacher = problem
    name, options = _VARIANTS[method]
    options = {
        "num_labels": _LABELS.value,
        "objective": objective,
        "seed": seed,
        "count_params": benchmark.count_params,
        **options,
    }
    embedding_seconds = 0.0
    if name in _ON_EMBEDDING:
        num_heads = options.pop("num_heads", 5)
        if num_heads not in embeddings:
            embeddings[num_heads] = _embedding(
                benchmark, teacher, seed, num_heads
            )
        options["autoencoder"], embedding_seconds = embeddings[num_heads]
    kind = options.pop("swapped", None)
    if name in _FROM_TEACHER:
        options["teacher"] = (
            benchmark.space.swapped(teacher)[kind][0] if kind else teacher
        )
    evaluate = (
        benchmark.single_trainings(seed)
        if _SINGLE.value
        else benchmark.evaluate
    )
    function = search if name == "search" else getattr(baselines, name)

    start = time.monotonic()
    result = function(benchmark.space, evaluate, **options)
    seconds = time.monotonic() - start
    # Within a budget what counts is how much of the teacher's accuracy is lost;
    # the formula's climbs end too early there to say what its optimum is.
    aim = (
        benchmark.accuracy(teacher)
        if isinstance(objective, Budget)
        else highest_objective(benchmark, objective)
    )
    curve = evaluation.regret_curve(result, benchmark.accuracy, aim)
    changes = [0, *(np.flatnonzero(np.diff(curve)) + 1).tolist()]
    reference = (
        _LOWEST_ACCURACY,
        float(np.log10(benchmark.count_params(teacher))),
    )
    volumes = {
        num: evaluation.hypervolume(
            [benchmark.accuracy(r.architecture) for r in result.history[:num]],
            [np.log10(r.num_params) for r in result.history[:num]],
            reference,
        )
        for num in {*_SHOWN, len(result.history)}
        if num <= len(result.history)
    }
    print(f"{method} seed {seed} {objective}: {curve[-1]:.5f}", flush=True)
    return {
        "problem": _name(),
        "table": _table_digest(),
        "method": method,
        "seed": seed,
        **dataclasses.asdict(objective),
        "single_trainings": _SINGLE.value,
        "max_labels": _LABELS.value,
        "num_labels": len(result.history),
        # [label, regret from there on]; with a budget the accuracy lost.
        "regret": [[i + 1, round(float(curve[i]), 7)] for i in changes],
        "hypervolume": {str(n): round(v, 5) for n, v in volumes.items()},
        # The benchmarks take next to no time themselves.
        "seconds_a_label": round(
            (seconds + embedding_seconds) / len(result.history), 3
        ),
        "environment": environment(),
    }


def _embedding(benchmark, teacher, seed: int, num_heads: int):
    """An embedding, which its methods share, and the seconds it took."""
    from archcomp_tf.fitting import train_embedding

    start = time.monotonic()
    autoencoder = train_embedding(
        benchmark.space,
        [teacher],
        count_params=benchmark.count_params,
        seed=seed,
        num_heads=num_heads,
    )
    return autoencoder, time.monotonic() - start


def _runs(path: pathlib.Path) -> dict[tuple, dict]:
    """The longest run of each seed and objective."""
    from archcomp_tf.objective import Budget, LogParams

    if not path.exists():
        return {}
    runs: dict[tuple, dict] = {}
    for run in map(json.loads, path.read_text().splitlines()):
        run.setdefault("max_labels", run["num_labels"])
        objective = (
            Budget(run["max_params"])
            if "max_params" in run
            else LogParams(run["weight"])
        )
        key = (run["seed"], objective)
        if key not in runs or runs[key]["max_labels"] < run["max_labels"]:
            runs[key] = run
    return runs


def _report(output: pathlib.Path) -> str:
    """Tables and pictures of all runs, a table an objective."""
    from archcomp_tf.objective import Budget

    runs: dict = {}
    # First those that there are, then what earlier versions left.
    files = {path.stem for path in output.glob("*.jsonl")}
    for method in [*_VARIANTS, *sorted(files - set(_VARIANTS))]:
        for (_, objective), run in _runs(output / f"{method}.jsonl").items():
            methods = runs.setdefault(objective, {})
            methods.setdefault(method, []).append(run)
    text = f"# Search on {_name()}\n"
    for objective, methods in sorted(runs.items(), key=_order):
        if isinstance(objective, Budget):
            budget = objective.max_params
            name, picture = "accuracy lost", f"lost_{budget}.png"
            what = f"At most {budget:,} parameters: {name}, of the largest's,"
        else:
            name, picture = "regret", f"regret_{objective.weight:g}.png"
            what = f"Accuracy - {objective.weight:g} log10(parameters): {name}"
        text += (
            f"\n{what} x 1000, mean and standard deviation over the seeds.\n\n"
            f"{_table(methods, name, output / picture)}\n"
        )
    (output / "RESULTS.md").write_text(text)
    return text


def _order(item: tuple) -> tuple:
    """By the sort of objective, then by its number."""
    (objective, _) = item
    return type(objective).__name__, dataclasses.astuple(objective)


def _table(
    methods: dict[str, list[dict]], name: str, picture: pathlib.Path
) -> str:
    """A row a method; the curves, of what is named, go into the picture."""
    import numpy as np

    from archcomp_tf import plots
    from archcomp_tf.markdown_report import markdown_table
    from archcomp_tf.results import spread_text

    most = max(run["num_labels"] for runs in methods.values() for run in runs)
    shown = [*(num for num in _SHOWN if num < most), most]
    curves = {
        method: np.array([_curve(run, most) for run in runs])
        for method, runs in methods.items()
    }
    plots.regret_curves(picture, curves, name)
    target = -np.inf
    if "regularized_evolution" in curves:
        target = curves["regularized_evolution"].mean(axis=0)[:200][-1]
    rows = []
    for method, curve in curves.items():
        runs = methods[method]
        own = max(run["num_labels"] for run in runs)
        at = [1e3 * curve[:, num - 1] for num in shown if num <= own]
        # Not whoever came by it once, and gave it up for a luckier label.
        found = np.sum(curve[:, :100][:, -1] < 1e-9)
        reached = np.flatnonzero(curve.mean(axis=0) <= target)
        volumes = [
            run["hypervolume"][str(min(most, run["num_labels"]))]
            for run in runs
        ]
        # Their median: what else a machine did falls on some of the runs.
        seconds = [run["seconds_a_label"] for run in runs]
        row = [spread_text(regrets) for regrets in at]
        rows.append(
            [
                method,
                str(len(runs)),
                *row,
                *["-"] * (len(shown) - len(row)),
                f"{found} of {len(runs)}" if name == "regret" else "-",
                str(reached[0] + 1) if len(reached) else "-",
                f"{np.mean(volumes):.4f}",
                f"{np.median(seconds):.2f}",
            ]
        )
    return markdown_table(
        [
            "method",
            "seeds",
            *(f"{num} labels" for num in shown),
            "optimum at 100",
            f"labels to evolution's {min(200, most)}",
            "hypervolume",
            "median s a label",
        ],
        rows,
    )


def _curve(run: dict, num: int):
    """The regret after each label; what stopped early stays where it was."""
    import numpy as np

    curve = np.empty(num)
    for label, regret in run["regret"]:
        curve[label - 1 :] = regret
    return curve


if __name__ == "__main__":
    flags.mark_flag_as_required("output")
    app.run(lambda argv: sys.exit(main(argv)))
