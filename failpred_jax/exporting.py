"""A finished run as one function in StableHLO, for services that have JAX and nothing of this package.

  model.stablehlo  images [b, H, W, channels] uint8 -> outputs by name, for every batch size b; weights inside
  export.json      what goes in and comes out, the classes, the maps to P(correct), the run
  model.onnx       if asked for: the same function for ONNX runtimes (jax2onnx makes it, onnxruntime checks it)

The first is read with `jax.export.deserialize`, on a CPU, GPU or TPU. What each gives is compared with the predictor
before the folder appears.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from failpred_jax import __version__
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.evaluate.collect import make_forward
from failpred_jax.files import UNFINISHED, read_json, write_json
from failpred_jax.outcomes import predicted_classes
from failpred_jax.predictor import Predictor, load
from failpred_jax.registry import SCORES
from failpred_jax.types import Array, Batch

MODEL, META, ONNX = 'model.stablehlo', 'export.json', 'model.onnx'
FORMAT = 'failpred_jax export 1'
PLATFORMS = ('cpu', 'cuda', 'tpu')
# What a confidence may differ by from the predictor's, relative to the largest of them: both are float32.
TOLERANCE = 1e-5


def export_run(workdir: Path, output: Path, scores: Sequence[str] | None = None, onnx: bool = False) -> None:
    """Write a finished run as a function of images; see the module.

    Args:
      workdir: of the run.
      output: a folder, which must not be there yet.
      scores: names; None for the baseline and the run's own heads.
      onnx: also write it for ONNX runtimes.

    Raises:
      UserError: the run or a score cannot be exported, the folder cannot be written, or what ONNX needs is not there.
    """
    converters = _converters() if onnx else None
    if output.exists():
        raise UserError(f"--output is '{output}', which is there already; name another folder, or remove it")
    if not output.parent.is_dir():
        raise UserError(f"--output is '{output}', but there is no folder '{output.parent}'; make it first")
    predictor = load(workdir)
    names = _exportable(predictor, scores)
    function = _function(predictor, names)
    exported = _export_or_blame(predictor, names, function)
    say(f'exported {", ".join(names) or "no scores"}; comparing with the run ...')
    aside = Path(tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.', suffix=UNFINISHED))
    try:
        data = bytes(exported.serialize())
        (aside / MODEL).write_bytes(data)
        write_json(aside / META, _describe(predictor, names, exported, data))
        read, _ = read_export(aside)
        call: Callable[[Any], Any] = read.call
        _compare(call, predictor, names)
        if converters is not None:
            _write_onnx(aside / ONNX, predictor, names, function, *converters)
        os.replace(aside, output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    # mkdtemp makes folders that only their owner can enter.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(output, 0o777 & ~umask)
    say(f'{output}: {MODEL} ({len(data) / 2**20:.1f} MB), {META}{f", {ONNX}" if onnx else ""}')


def _exportable(predictor: Predictor, scores: Sequence[str] | None) -> list[str]:
    names = predictor.asked(scores)
    if scores is None:
        # What is fitted on features is often a search among them, which is no function of any number of images.
        names = [name for name in names if SCORES[name].fit is None]
    for name in names:
        if 'mc_dropout' in SCORES[name].needs:
            raise UserError(f"the score '{name}' cannot be exported: it draws dropout passes at random")
        if SCORES[name].combines:
            raise UserError(f"the score '{name}' cannot be exported: it reads all other scores; use --mode=predict")
    return names


def _function(predictor: Predictor, names: Sequence[str]) -> Callable[[Array], dict[str, Array]]:
    """Return the function of images [b, H, W, channels] uint8: output -> [b, ...]."""
    entries = [SCORES[name] for name in names]
    fits, weights = predictor.run.fits.values, predictor.run.weights
    needs = frozenset().union(*(entry.needs for entry in entries)) - {'logits'}
    forward = make_forward(predictor.network, predictor.prepare_fn, needs, 0)

    def run(images: Array) -> dict[str, Array]:
        count = images.shape[0]
        batch = Batch(images, jnp.zeros(count, jnp.int32), jnp.ones(count, bool))
        inputs = forward(weights.classifier, weights.finetuned, batch, jnp.zeros(count, jnp.int32), None, None)
        found: dict[str, Array] = {
            'label': predicted_classes(inputs.logits),
            'probs': jax.nn.softmax(jnp.asarray(inputs.logits)),
        }
        for entry in entries:
            value = entry.fn(inputs) if entry.fit is None else entry.fn(inputs, fits[entry.name])
            found[f'confidence_{entry.name}'] = jnp.asarray(value)
        return found

    return run


def _export_or_blame(
    predictor: Predictor, names: Sequence[str], function: Callable[[Array], dict[str, Array]]
) -> export.Exported:
    """Return the traced function of images of any number; raise a UserError that names the scores that prevent it."""
    try:
        return _export(predictor, function)
    except Exception as error:  # whatever a score or a network does that cannot be traced, or not for every batch size
        blamed = [name for name in names if not _is_exportable(predictor, name)] or names
        words = (str(error).splitlines() or [''])[0][:300]
        why = f'{type(error).__name__}: {words}'
        if isinstance(error, jax.errors.InconclusiveDimensionOperation):
            why = 'what it computes depends on the number of images, as a search among training units does'
        raise UserError(
            f'this run cannot be exported with {", ".join(blamed)} ({why}); name other scores with --scores, or serve '
            'it with failpred_jax.load'
        ) from error


def _export(predictor: Predictor, function: Callable[[Array], dict[str, Array]]) -> export.Exported:
    (batch_size,) = export.symbolic_shape('b')
    shape = jax.ShapeDtypeStruct((batch_size, *predictor.image_shape), jnp.uint8)
    return export.export(jax.jit(function), platforms=PLATFORMS)(shape)


def _is_exportable(predictor: Predictor, name: str) -> bool:
    try:
        _export(predictor, _function(predictor, [name]))
    except Exception:
        return False
    return True


def _describe(predictor: Predictor, names: Sequence[str], exported: export.Exported, data: bytes) -> dict[str, Any]:
    info, calibrators = predictor.run.info, predictor.run.fits.calibrators
    return {
        'format': FORMAT,
        'made_by': f'failpred_jax {__version__}, jax {jax.__version__}',
        'model_digest': hashlib.blake2b(data, digest_size=16).hexdigest(),
        'data_set': info.name,
        'input': {'shape': ['b', *info.image_shape], 'dtype': 'uint8', 'range': [0, 255]},
        'outputs': ['label', 'probs', *(f'confidence_{name}' for name in names)],
        'class_names': list(info.class_names),
        'calibrators': {name: calibrators[name].to_dict() for name in names if name in calibrators},
        'platforms': list(exported.platforms),
        'calling_convention_version': exported.calling_convention_version,
    }


def read_export(folder: Path) -> tuple[export.Exported, Mapping[str, Any]]:
    """Return the function and the description of an exported run.

    Raises:
      UserError: it is not there, damaged, or of another version.
    """
    try:
        meta, data = read_json(folder / META), (folder / MODEL).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' cannot be read as an exported run: {error}") from error
    if not isinstance(meta, Mapping) or meta.get('format') != FORMAT:
        raise UserError(f"'{folder / META}' is of no exported run of this version; export it again (--mode=export)")
    if hashlib.blake2b(data, digest_size=16).hexdigest() != meta['model_digest']:
        raise UserError(f"'{folder / MODEL}' is damaged: it is not what was written; export it again (--mode=export)")
    return export.deserialize(bytearray(data)), meta


def _converters() -> tuple[Any, Any]:
    """Return the modules jax2onnx and onnxruntime.

    Raises:
      UserError: they are not installed.
    """
    try:
        import jax2onnx  # pyright: ignore[reportMissingImports]
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"--onnx needs jax2onnx and onnxruntime ({error}); install the extra: pip install 'failpred_jax[onnx]'"
        ) from error
    return jax2onnx, onnxruntime


def _write_onnx(
    path: Path, predictor: Predictor, names: Sequence[str], function: Callable[[Array], dict[str, Array]],
    jax2onnx: Any, onnxruntime: Any,
) -> None:  # fmt: skip
    """Write the function for ONNX runtimes, once it says the same as the predictor there."""
    outputs = ['label', 'probs', *(f'confidence_{name}' for name in names)]
    shape = jax.ShapeDtypeStruct(('b', *predictor.image_shape), jnp.uint8)  # type: ignore[arg-type]

    def run(images: Array) -> tuple[Array, ...]:
        found = function(images)
        return tuple(found[name] for name in outputs)

    try:
        made = jax2onnx.to_onnx(run, [shape], model_name='failpred_jax', input_names=['images'], output_names=outputs)
        path.write_bytes(made.SerializeToString())
        session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    except Exception as error:  # an operation that the converter or the runtime does not have
        words = (str(error).splitlines() or [''])[0][:300]
        raise UserError(
            f'this run cannot be written as ONNX with {", ".join(names)} ({type(error).__name__}: {words}); leave out '
            '--onnx, or name other scores with --scores'
        ) from error
    _compare(lambda images: dict(zip(outputs, session.run(None, {'images': images}), strict=True)), predictor, names)


def _compare(call: Callable[[Any], Mapping[str, Any]], predictor: Predictor, names: Sequence[str]) -> None:
    """Raise a RuntimeError unless what was written says the same as the predictor, at two batch sizes."""
    images = np.random.default_rng(0).integers(0, 256, (5, *predictor.image_shape), np.uint8)
    expected = predictor.predict(images, scores=names)
    for part in (slice(0, 5), slice(1, 2)):
        found = call(images[part])
        if not np.array_equal(np.asarray(found['label']), expected.label[part]):
            raise RuntimeError('the exported label is not that of the run')
        wanted = {'probs': expected.probs} | {f'confidence_{name}': expected.confidences[name] for name in names}
        for name, values in wanted.items():
            scale = max(1e-30, float(np.abs(values).max()))
            if not np.abs(np.asarray(found[name]) - values[part]).max() <= TOLERANCE * scale:
                raise RuntimeError(f"the exported '{name}' is not that of the run")
