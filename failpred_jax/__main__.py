"""`python -m failpred_jax`: the program, as `python -m failpred_jax.main` starts it."""

import sys

from failpred_jax.main import main

if __name__ == '__main__':
    sys.exit(main())
