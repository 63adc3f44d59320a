"""The embedding of a run: learnt before its search, kept and exported after."""

from __future__ import annotations

import keras
import numpy as np

from archcomp_tf.autoencoder import ArchitectureAutoencoder
from archcomp_tf.dashboards import write_scalars
from archcomp_tf.evaluation import exact_reconstruction, params_error
from archcomp_tf.export import export_embedding
from archcomp_tf.fitting import (
    MIN_LABELS,
    fit_autoencoder,
    fit_ensemble_head,
    unlabelled_mix,
)
from archcomp_tf.latent import map_embedding
from archcomp_tf.ledger import SearchResult
from archcomp_tf.run import Run

_MODEL = "autoencoder/model.keras"
_SEARCHED_MODEL = "search/embedding.keras"
_NUM_HELD_OUT = 1000  # architectures on which the embedding is judged


def learn_embedding(run: Run) -> dict[str, float]:
    """Learns the embedding of a run's space, and keeps it.

    Args:
      run: the compression; its samples are labelled.

    Returns:
      How exact it is, on networks that it has not seen; where a space is so
      small that it has seen all that were held out, on those.
    """
    settings = run.config.autoencoder.to_dict()
    mode, epochs = settings.pop("mode"), settings.pop("epochs")
    num_architectures = settings.pop("num_architectures")
    keras.utils.set_random_seed(run.seed)
    autoencoder = ArchitectureAutoencoder(run.space, **settings)
    rng = np.random.default_rng(run.seed)
    mix = unlabelled_mix(
        run.space,
        [run.teacher_architecture],
        num_architectures + _NUM_HELD_OUT,
        rng,
    )
    # Shuffled, since samples come before mutations in the mix.
    mix = [mix[i] for i in rng.permutation(len(mix))]
    held_out, seen = mix[:_NUM_HELD_OUT], mix[_NUM_HELD_OUT:]
    # Several workers leave records in any order.
    records = [*run.known, *sorted(run.corpus, key=lambda r: r.key)]
    # A mix may hold a network twice.
    known = {*seen, *(record.architecture for record in records)}
    held_out = [a for a in held_out if a not in known] or held_out
    history = fit_autoencoder(
        autoencoder,
        seen,
        run.space.count_params,
        seed=run.seed,
        epochs=epochs,
        records=records if mode == "joint" else (),
    )
    write_scalars(
        run.path("tensorboard/autoencoder"),
        {f"epoch_{name}": values for name, values in history.items()},
    )
    with run.workdir.replacing(_MODEL) as path:
        autoencoder.save(path)
    return {
        "exact_reconstruction": exact_reconstruction(autoencoder, held_out),
        "params_mape": params_error(
            autoencoder, held_out, run.space.count_params
        ),
    }


def learnt_embedding(run: Run) -> ArchitectureAutoencoder:
    """What `learn_embedding` kept."""
    return run.model(_MODEL)


def keep_embedding(
    run: Run, autoencoder: ArchitectureAutoencoder, result: SearchResult
) -> None:
    """Keeps the embedding as a search leaves it, its head knowing all labels.

    Beside it lies where the labelled networks are in it, for the report.

    Args:
      run: the compression.
      autoencoder: embedding and heads; the accuracy head is fitted again,
        where there are labels enough.
      result: of the search.
    """
    labelled = [record.architecture for record in result.labelled]
    if len(labelled) >= MIN_LABELS:
        fit_ensemble_head(
            autoencoder,
            autoencoder.accuracy_head,
            result.history,
            seed=run.seed,
        )
    with run.workdir.replacing(_SEARCHED_MODEL) as path:
        autoencoder.save(path)
    with run.workdir.replacing("search/latent.npz") as path:
        map_embedding(
            autoencoder,
            labelled,
            run.teacher_architecture,
            run.objective,
            num_steps=run.config.search.num_steps,
            learning_rate=run.config.search.learning_rate,
        ).save(path)


def leave_embedding(run: Run) -> None:
    """Leaves what `keep_embedding` kept as a SavedModel; needs TensorFlow."""
    autoencoder = run.model(_SEARCHED_MODEL)
    with run.workdir.replacing("search/embedding") as path:
        export_embedding(autoencoder, path, type(run.objective))
