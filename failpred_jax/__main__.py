"""`python -m failpred_jax`: the program, as `python -m failpred_jax.main` starts it."""

from failpred_jax.main import run

if __name__ == '__main__':
    run()
