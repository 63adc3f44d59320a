"""Tests of the embedding of a run."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from archcomp_tf import embedding
from archcomp_tf.architecture import Architecture
from archcomp_tf.corpus import FAILED, Record
from archcomp_tf.fitting import fit_autoencoder
from archcomp_tf.latent import LatentMap
from archcomp_tf.ledger import SearchResult

TEACHER = Architecture.parse("conv3x3-8 conv3x3-8")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A run, what was said of its embedding, and that as it was fitted."""
    folder = tmp_path_factory.mktemp("run")
    run = tiny.taught_run(folder, TEACHER)
    fitted = []

    def fit(autoencoder, *args, **kwargs):
        fitted.append(autoencoder)
        return fit_autoencoder(autoencoder, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "fit_autoencoder", fit)
        record = embedding.learn_embedding(run)
    return run, record, *fitted


def _searched(run):
    """A search that labelled ten samples; the last failed."""
    rng = np.random.default_rng(0)
    samples = [run.space.sample(rng) for _ in range(10)]
    records = [
        Record(a, 0.5 + i / 100, run.space.count_params(a))
        for i, a in enumerate(samples[:-1])
    ]
    failed = Record(samples[-1], np.nan, 7, status=FAILED, reason="diverged")
    return SearchResult((*records, failed), run.objective, run.allowance.keeps)


def test_what_is_learnt_is_kept(learnt):
    run, _, fitted = learnt
    kept = embedding.learnt_embedding(run)
    assert kept.space == run.space
    assert kept.channels == run.config.autoencoder.channels
    rng = np.random.default_rng(0)
    networks = [run.space.sample(rng) for _ in range(20)]
    z = fitted.encode(networks)
    np.testing.assert_allclose(kept.encode(networks), z, atol=1e-5)
    assert kept.decode(z) == fitted.decode(z)
    np.testing.assert_allclose(
        kept.predict_heads(networks), fitted.predict_heads(networks), rtol=1e-4
    )


def test_the_same_seed_learns_the_same(learnt, tmp_path):
    _, record, _ = learnt
    again = embedding.learn_embedding(tiny.taught_run(tmp_path, TEACHER))
    assert again == pytest.approx(record)


def test_an_embedding_is_kept_where_labels_are_too_few(learnt, tmp_path):
    run = tiny.taught_run(tmp_path, TEACHER)
    few = SearchResult(
        _searched(run).history[:5], run.objective, run.allowance.keeps
    )
    embedding.keep_embedding(run, embedding.learnt_embedding(learnt[0]), few)
    assert len(LatentMap.load(run.path("search/latent.npz")).z) == 5
    embedding.leave_embedding(run)
    assert tf.saved_model.contains_saved_model(run.path("search/embedding"))


def test_the_embedding_that_is_left_knows_the_labels(learnt):
    run, *_ = learnt
    autoencoder, result = embedding.learnt_embedding(run), _searched(run)
    embedding.keep_embedding(run, autoencoder, result)
    embedding.leave_embedding(run)
    left = tf.saved_model.load(run.path("search/embedding"))
    networks = [record.architecture for record in result.history]
    z = left.encode(autoencoder.encoding.encode(networks))
    predicted = left.predict(z)["accuracy"].numpy()[:-1]
    known = [record.accuracy for record in result.history[:-1]]
    # Far nearer than a head that was not fitted, which says the same of all.
    assert np.mean(np.abs(predicted - known)) < np.std(known)
    places = LatentMap.load(run.path("search/latent.npz"))
    assert len(places.z) == 9  # one failed
    np.testing.assert_allclose(places.z, z[:-1], atol=1e-5)


def test_an_embedding_is_judged_on_what_it_has_not_seen(monkeypatch, tmp_path):
    seen, judged = [], []
    for name, networks, value in (
        ("fit_autoencoder", seen, {}),
        ("exact_reconstruction", judged, 1.0),
        ("params_error", judged, 0.0),
    ):
        monkeypatch.setattr(
            embedding,
            name,
            lambda _, a, *args, networks=networks, value=value, **kwargs: (
                networks.extend(a) or value
            ),
        )
    run = tiny.taught_run(tmp_path, TEACHER)
    embedding.learn_embedding(run)
    assert judged and not set(judged) & set(seen)
    # Of a single network there is no other to judge on.
    seen.clear(), judged.clear()
    monkeypatch.setattr(
        embedding, "unlabelled_mix", lambda _1, _2, num, _3: [TEACHER] * num
    )
    embedding.learn_embedding(run)
    assert set(judged) == set(seen) == {TEACHER}
