"""A finished run behind HTTP: post a picture, get the class, P(correct) and what the run's policy decides.

pip install fastapi uvicorn
WORKDIR=runs/digits uvicorn examples.serve:app
curl --data-binary @picture.png http://127.0.0.1:8000/predict
"""

import os
from typing import Any

from fastapi import FastAPI, HTTPException, Request

import failpred_jax
from failpred_jax.data.pictures import read_picture
from failpred_jax.errors import UserError

app = FastAPI()
# One image a pass: compiled here, once, and not while somebody waits.
predictor = failpred_jax.load(os.environ['WORKDIR'], batch_size=1)
score = predictor.policy.score if predictor.policy else predictor.asked(None)[0]


@app.post('/predict')
async def predict(request: Request) -> dict[str, Any]:
    """Return what the run says of the picture in the body."""
    try:
        picture = read_picture(await request.body(), predictor.image_shape[-1], 'the body')
        found = predictor.predict(picture[None], scores=[score])
    except UserError as error:
        raise HTTPException(422, str(error)) from error
    p_correct = found.p_correct.get(score)
    return {
        'class': str(found.names[0]),
        'score': score,
        'confidence': float(found.confidences[score][0]),
        'p_correct': None if p_correct is None else float(p_correct[0]),
        'decision': None if found.decision is None else str(found.decision.names()[0]),
    }
