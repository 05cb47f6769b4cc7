"""Wrong input of --mode=combine --stream, for test_bad_input.py."""

import numpy as np

BOTH = ('confidence_mcp', 'confidence_far')


def fitted(*words, count=40, **change):
    """Return a maker of labeled units and of a stream of `count` with this change; None leaves an array out."""

    def make(tmp, finished):
        rng = np.random.default_rng(0)
        own = {f'{prefix}{name}': rng.random(40) for prefix in ('', 'val_') for name in BOTH}
        np.savez(tmp / 'p.npz', **own, correct=np.arange(40) % 4 > 0, val_correct=np.arange(40) % 4 > 0)
        arrays = {name: rng.random(count) for name in BOTH} | change
        np.savez(tmp / 'stream.npz', **{name: array for name, array in arrays.items() if array is not None})
        output = ('--output={tmp}/both.npz', '--stream={tmp}/stream.npz', '--workdir=')
        return ('--mode=combine', *output, *(words or ('--predictions={tmp}/p.npz', '--components=mcp,far')))

    return make


STREAMS = {
    'a stream and no labeled units': fitted('--components=mcp,far'),
    'a stream and one score': fitted('--predictions={tmp}/p.npz', '--components=mcp'),
    'a stream and rules of components': fitted('--predictions={tmp}/p.npz', '--components=mcp,far', '--rules=mean'),
    'a stream without a score': fitted(confidence_far=None, confidence_fear=np.ones(40)),
    'a stream that is labeled': fitted(correct=np.ones(40, bool)),
    'a stream of several parts': fitted(val_confidence_mcp=np.ones(5), val_correct=np.ones(5, bool)),
    'a stream of few units': fitted(count=29),
    'a stream with gaps': fitted(confidence_far=np.r_[np.inf, np.ones(39)]),
    'a share of more than all': fitted('--predictions={tmp}/p.npz', '--components=mcp,far', '--coverage=95'),
}
