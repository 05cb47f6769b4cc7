"""The state of a monitor in a file: written whole, refused where it is damaged or belongs to something else."""

import hashlib
import json
from pathlib import Path
from typing import Any

from failpred_jax import apply
from failpred_jax.errors import UserError
from failpred_jax.files import write_text
from failpred_jax.monitor.monitor import Monitor
from failpred_jax.monitor.options import Options
from failpred_jax.monitor.reference import read_policy_and_reference

FORMAT = 'failpred_jax monitor state 1'
# Of a policy, what changes what a monitor sees.
_OF_POLICY = ('score', 'dtype', 'model', 'data', 'tiers', 'otherwise', 'by', 'groups', 'calibrator', 'reference')


def save(monitor: Monitor, path: Path) -> None:
    """Write the state of a monitor, whole or not at all."""
    body = {
        'format': FORMAT,
        'policy': policy_digest(monitor.policy),
        'reference': monitor.reference.digest,
        'options': monitor.options.to_json(),
        'content': monitor.to_json(),
    }
    text = json.dumps({**body, 'digest': _digest(body)}, allow_nan=False, indent=1)
    write_text(path, text + '\n')


def load(path: Path, policy_path: Path, options: Options | None = None) -> Monitor:
    """Return the monitor of a state file.

    Args:
      path: of the state.
      policy_path: of policy.json, with its reference.npz beside it.
      options: those asked for, which must be the state's; None takes the state's.

    Raises:
      UserError: the state is missing or damaged, or belongs to another policy or other options.
    """
    policy, reference = read_policy_and_reference(policy_path)
    body = _read(path)
    aside = f"move '{path}' aside (then a new state begins), or give another --state"
    if body['policy'] != policy_digest(policy) or body['reference'] != reference.digest:
        raise UserError(
            f"the state '{path}' belongs to another policy than '{policy_path}': what it has seen says nothing of "
            f'this one; '
            f'{aside}'
        )
    kept = Options(**{**body['options'], 'alarms': tuple(body['options']['alarms'])})
    if options is not None and options != kept:
        name = next(n for n in kept.to_json() if getattr(kept, n) != getattr(options, n))
        raise UserError(
            f"the state '{path}' was begun with {name}={_shown(getattr(kept, name))}, and {name}="
            f'{_shown(getattr(options, name))} is asked for now; a promise cannot change on the way: leave it out, '
            f'or {aside}'
        )
    monitor = Monitor(policy, reference, kept)
    try:
        monitor.restore(body['content'])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the state '{path}' is damaged ({type(error).__name__}: {error}); {aside}") from error
    return monitor


def policy_digest(policy: apply.Policy) -> str:
    """Return a digest of what a policy does and what it rests on."""
    return _digest({name: policy.content.get(name) for name in _OF_POLICY})


def _read(path: Path) -> dict[str, Any]:
    aside = 'move it aside, and begin anew or from a copy that is whole'
    try:
        body = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(body, dict) or body.get('format') != FORMAT:
            raise UserError(f"'{path}' is no state of a monitor of this version; {aside}")
        given = body.pop('digest', '')
    except (OSError, ValueError) as error:
        raise UserError(f"the state '{path}' cannot be read ({error}); {aside}") from error
    if given != _digest(body):
        raise UserError(f"the state '{path}' is damaged: its content is not what was written; {aside}")
    return body


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def _shown(value: Any) -> str:
    return ','.join(value) if isinstance(value, tuple) else str(value)
