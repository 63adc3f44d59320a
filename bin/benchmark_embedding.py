"""Measures embeddings: how exact, how safe to descend in, how fast.

One JSON file a seed, and RESULTS.md and pictures over all of them, are left in
--output; seeds that are there already are not measured again.  Accuracies are
those of NAS-Bench-Macro, or, around a teacher, of the formula in
`benchmarks.py`: no network is trained.
"""

import json
import logging
import pathlib
import sys
import time

from absl import app, flags

from archcomp_tf import quiet

_SPACE = flags.DEFINE_string(
    "space",
    "vgg19",
    "A name in teachers.py, the text form of an architecture, or a table: the "
    "path of a .csv file, see bin/benchmark_search.py.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to measure.")
_VARIANTS = flags.DEFINE_list(
    "variants",
    ["default"],
    "What to measure: default, joint, no_noise, one_head, far.",
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", 40, "Passes over the unlabelled.", lower_bound=1
)
_ARCHITECTURES = flags.DEFINE_integer(
    "num_architectures", 20_000, "Unlabelled architectures.", lower_bound=256
)
_HELD_OUT = flags.DEFINE_integer(
    "num_held_out",
    10_000,
    "Architectures to judge on; those that were trained on are left out.",
    lower_bound=512,
)

_WEIGHT = 0.05  # of LogParams: accuracy that a tenfold reduction may cost
_NUM_STARTS = 512
_NUM_TIMED_STEPS = 200
_LABEL_COUNTS = (60, 100, 200)
_NUM_LABELS = 100  # with so many the descent is judged
# Variant -> what the autoencoder is made with.
_SETTINGS = {
    "default": {},
    "joint": {},
    "no_noise": {"noise": 0.0},
    "one_head": {"num_heads": 1},
    "far": {},
}
_FAR = 3  # so many times as many steps does a descent take in this variant
# Rows of the table: what it says -> the key in the JSON files.
_ROWS = {
    "training, s": "seconds",
    "exact reconstruction": "exact_reconstruction",
    "parameters, mean absolute error": "params_error",
    "Spearman, 60 labels": "labels_60.spearman",
    "Spearman, 200 labels": "labels_200.spearman",
    "80 % interval holds, 60 labels": "labels_60.coverage",
    "80 % interval holds, 200 labels": "labels_200.coverage",
    "valid, random points": "validity.random",
    "valid, interpolations": "validity.interpolated",
    "valid, descents": "validity.descent",
    "end points distinct": "end_points.distinct",
    "of these, new": "end_points.new",
    "optimism at the end point": "optimism.mean_end_point",
    "optimism re-encoded": "optimism.mean_re_encoded",
    "of 16 proposals, at the end point": "optimism.chosen_end_point",
    "of 16 proposals, re-encoded": "optimism.chosen_re_encoded",
    "best of 16 by the end-point score": "optimism.true_end_point",
    "best of 16 by the re-encoded score": "optimism.true_re_encoded",
    "descent, ms a step": "speed.compiled",
    "eager / compiled": "speed.eager_ratio",
    "compiled / matrix products": "speed.matrix_ratio",
}


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    quiet.load_keras()
    from archcomp_tf import atomic
    from archcomp_tf.environment import check_installed

    logging.getLogger("archcomp_tf").setLevel(logging.INFO)
    output = pathlib.Path(_OUTPUT.value)
    try:
        check_installed("matplotlib", "benchmarks")
        problem = _problem()
        output.mkdir(parents=True, exist_ok=True)
        _check_folder(output)
        for variant in _VARIANTS.value:
            for seed in map(int, _SEEDS.value):
                path = output / f"{variant}_{seed}.json"
                if not path.exists():
                    results = _measure(problem, variant, seed, output)
                    with atomic.replacing(path) as part:
                        part.write_text(json.dumps(results, indent=1) + "\n")
        text = _table(output)
        (output / "RESULTS.md").write_text(text)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


def _settings() -> dict:
    """What all measurements of a folder have in common."""
    space = _SPACE.value
    if space.endswith(".csv"):
        space = pathlib.Path(space).stem
    return {
        "space": space,
        "num_architectures": _ARCHITECTURES.value,
        "epochs": _EPOCHS.value,
    }


def _check_folder(output: pathlib.Path) -> None:
    """Raises ValueError where a folder holds measurements of other settings."""
    asked = _settings()
    for path in sorted(output.glob("*.json")):
        results = json.loads(path.read_text())
        found = {name: results.get(name) for name in asked}
        if found != asked:
            raise ValueError(
                f"--output: {path} was measured with {found}; expected a "
                f"folder of {asked}."
            )


def _problem():
    """The space, its benchmark, and the teacher where there is one.

    Raises:
      ValueError: a flag asks for what there is not.
    """
    from archcomp_tf.benchmarks import SyntheticBenchmark, read_benchmark
    from archcomp_tf.search_space import SearchSpace
    from archcomp_tf.teachers import named

    if unknown := set(_VARIANTS.value) - set(_SETTINGS):
        raise ValueError(
            f"--variants: expected variants of {', '.join(_SETTINGS)}; got "
            f"{', '.join(sorted(unknown))}."
        )
    if _SPACE.value.endswith(".csv"):
        benchmark = read_benchmark(_SPACE.value)
        return benchmark.space, benchmark, None
    try:
        teacher = named(_SPACE.value)
    except ValueError as error:
        raise ValueError(
            f"--space: expected the path of a .csv file, or a network. {error}"
        ) from error
    space = SearchSpace.around(teacher)
    return space, SyntheticBenchmark(space, noise=0.003), teacher


def _measure(problem, variant: str, seed: int, output: pathlib.Path) -> dict:
    import keras
    import numpy as np

    from archcomp_tf import fitting
    from archcomp_tf.autoencoder import ArchitectureAutoencoder
    from archcomp_tf.corpus import Record
    from archcomp_tf.descent import LEARNING_RATE, NUM_STEPS
    from archcomp_tf.environment import environment
    from archcomp_tf.samples import new_samples

    space, benchmark, teacher = problem
    around = [teacher] if teacher else []
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    autoencoder = ArchitectureAutoencoder(space, **_SETTINGS[variant])
    labelled = new_samples(space, max(_LABEL_COUNTS), rng, set())
    records = [
        Record(architecture, accuracy, benchmark.count_params(architecture))
        for architecture, accuracy in zip(
            labelled, benchmark.evaluate(labelled), strict=True
        )
    ]

    start = time.monotonic()
    seen = fitting.unlabelled_mix(space, around, _ARCHITECTURES.value, rng)
    fitting.fit_autoencoder(
        autoencoder,
        seen,
        benchmark.count_params,
        seed=seed,
        epochs=_EPOCHS.value,
        records=records[:_NUM_LABELS] if variant == "joint" else (),
    )
    num_steps = NUM_STEPS * (_FAR if variant == "far" else 1)
    results = {
        **_settings(),
        "variant": variant,
        "seed": seed,
        "objective": {"name": "LogParams", "weight": _WEIGHT},
        "descent": {
            "num_starts": _NUM_STARTS,
            "num_steps": num_steps,
            "learning_rate": LEARNING_RATE,
            "num_timed_steps": _NUM_TIMED_STEPS,
        },
        "seconds": round(time.monotonic() - start, 1),
        "environment": environment(),
    }
    if teacher:
        mix = fitting.unlabelled_mix(space, around, _HELD_OUT.value, rng)
        trained_on = set(seen)
        held_out = [a for a in mix if a not in trained_on] or mix
    else:  # all members, some seven of ten of which were trained on
        held_out = benchmark.architectures
    known = {record.architecture for record in records}
    unseen = [a for a in dict.fromkeys(held_out) if a not in known]
    truth = [benchmark.accuracy(architecture) for architecture in unseen]
    results |= _embedding_judged(autoencoder, held_out, benchmark)
    results |= _heads_judged(
        autoencoder, records, unseen, truth, seed, variant != "joint"
    )
    judged, paths = _descent_judged(
        autoencoder, problem, records, held_out, num_steps, seed, rng
    )
    if variant == "default" and seed == int(_SEEDS.value[0]):
        _draw(output, autoencoder, benchmark, unseen, truth, paths)
    return results | judged


def _embedding_judged(autoencoder, held_out, benchmark) -> dict:
    """How exact it is on networks that it has not seen."""
    from archcomp_tf import evaluation

    count_params = benchmark.count_params
    sizes = [count_params(architecture) for architecture in held_out]
    return {
        "exact_reconstruction": evaluation.exact_reconstruction(
            autoencoder, held_out
        ),
        "params_error": evaluation.params_error(
            autoencoder, held_out, count_params
        ),
        "params_range": [min(sizes), max(sizes)],
    }


def _heads_judged(
    autoencoder, records, unseen, truth, seed: int, refits: bool
) -> dict:
    """How well the accuracy head does on unseen networks, by labels."""
    from archcomp_tf import evaluation, fitting

    judged = {}
    # Those come last with which the descent is judged.
    for num in sorted(_LABEL_COUNTS, key=lambda num: num == _NUM_LABELS):
        if refits:
            fitting.fit_ensemble_head(
                autoencoder,
                autoencoder.accuracy_head,
                records[:num],
                seed=seed,
            )
        judged[f"labels_{num}"] = evaluation.accuracy_errors(
            autoencoder, unseen, truth
        )
    return judged


def _descent_judged(
    autoencoder, problem, records, held_out, num_steps: int, seed: int, rng
) -> tuple:
    """What descents end in, how fast they are; and their paths."""
    from archcomp_tf import evaluation
    from archcomp_tf.descent import LEARNING_RATE, Descent, descent_starts
    from archcomp_tf.objective import LogParams

    space, benchmark, teacher = problem
    objective = LogParams(_WEIGHT)
    ranked = sorted(
        records[:_NUM_LABELS],
        key=lambda r: -objective(r.accuracy, r.num_params),
    )
    starts = descent_starts(
        space, [r.architecture for r in ranked], teacher, _NUM_STARTS, rng
    )
    z = autoencoder.encode(starts)
    ends, trace = Descent(autoencoder, LogParams)(
        z, objective, num_steps, LEARNING_RATE
    )
    speed = evaluation.descent_speed(
        autoencoder, z, objective, num_steps=_NUM_TIMED_STEPS
    )
    judged = {
        "end_points": evaluation.end_points(starts, autoencoder.decode(ends)),
        "validity": evaluation.decode_validity(
            autoencoder,
            held_out,
            trace["z"].reshape(-1, ends.shape[1]),
            num=_HELD_OUT.value,
            seed=seed,
        ),
        "optimism": evaluation.optimism(
            autoencoder,
            ends,
            objective,
            lambda members: [benchmark.accuracy(member) for member in members],
            benchmark.count_params,
        ),
        "speed": {
            "compiled": 1e3 * speed["compiled"],
            "eager_ratio": speed["eager"] / speed["compiled"],
            "matrix_ratio": speed["compiled"] / speed["matrix_products"],
            "tracing_seconds": speed["tracing"],
        },
    }
    return judged, trace["z"]


def _draw(output, autoencoder, benchmark, unseen, truth, paths) -> None:
    import numpy as np

    from archcomp_tf import plots
    from archcomp_tf.latent import on_plane

    accuracy, _, log_params = autoencoder.predict_heads(unseen)
    true_params = np.log10([benchmark.count_params(a) for a in unseen])
    points, paths = on_plane(
        autoencoder.encode(unseen), paths[:, :: _NUM_STARTS // 16]
    )
    plots.latent_map(
        output / "latent_map.png",
        points,
        {"accuracy": np.array(truth), "log10 parameters": true_params},
        paths,
    )
    plots.predicted_against_true(
        output / "predicted_against_true.png",
        {
            "accuracy": (truth, accuracy),
            "log10 parameters": (true_params, log_params),
        },
    )


def _table(output: pathlib.Path) -> str:
    """Mean and spread over the seeds, a column a variant."""
    from archcomp_tf.markdown_report import markdown_table
    from archcomp_tf.results import mean_and_spread

    runs: dict[str, list[dict]] = {}
    for path in sorted(output.glob("*_*.json")):
        run = json.loads(path.read_text())
        runs.setdefault(run["variant"], []).append(run)
    rows = []
    for label, key in _ROWS.items():
        row = [label]
        for group in runs.values():
            values = []
            for run in group:
                value = run
                for part in key.split("."):
                    value = value[part]
                values.append(value)
            row.append("{:.4g} +- {:.2g}".format(*mean_and_spread(values)))
        rows.append(row)
    any_run = next(iter(runs.values()))[0]
    seeds = sorted({run["seed"] for group in runs.values() for run in group})
    return (
        f"# The embedding of {any_run['space']}\n\nMean and standard deviation "
        f"over the seeds {', '.join(map(str, seeds))}.\n\n"
        f"{markdown_table(['', *runs], rows)}\n"
    )


if __name__ == "__main__":
    flags.mark_flag_as_required("output")
    app.run(lambda argv: sys.exit(main(argv)))
