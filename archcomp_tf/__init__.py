"""Architecture compression for Keras 3.

A large Keras image classifier in, a much smaller plain `keras.Model` out, by
gradient descent in a learnt embedding of architectures (after A. Ashok,
"Architecture Compression", arXiv 1902.03326).

Names are loaded when they are first used, so that describing, building and
training networks needs no TensorFlow.
"""

import importlib

__version__ = "0.1.0"

# Public name -> the module that defines it.
_EXPORTS = {
    "Architecture": "architecture",
    "ArchitectureAutoencoder": "autoencoder",
    "BackendError": "backend",
    "Budget": "objective",
    "CompressionResult": "pipeline",
    "ConfigError": "config",
    "Corpus": "corpus",
    "DataError": "images",
    "Dataset": "datasets",
    "Descent": "descent",
    "Encoding": "encoding",
    "EvaluationError": "ledger",
    "LabelError": "labeling",
    "Labeler": "labeling",
    "Layer": "layer",
    "LimitError": "limits",
    "Limits": "limits",
    "LogParams": "objective",
    "N2NReward": "objective",
    "OtherConfigError": "workdir",
    "Recipe": "training",
    "Record": "corpus",
    "SearchResult": "ledger",
    "SearchSpace": "search_space",
    "Slot": "slot",
    "Task": "task",
    "Tolerance": "objective",
    "UnsupportedModelError": "keras_graph",
    "build": "builder",
    "compress": "pipeline",
    "default_config": "config",
    "explain": "importer",
    "from_keras": "importer",
    "num_flops": "cost",
    "num_multiply_adds": "cost",
    "num_params": "cost",
    "search": "compression",
    "train_embedding": "fitting",
}
_MODULES = ("baselines", "datasets", "export", "objective")

__all__ = sorted([*_EXPORTS, *_MODULES])


def __getattr__(name):
    if name in _EXPORTS:
        module = importlib.import_module(f"{__name__}.{_EXPORTS[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
