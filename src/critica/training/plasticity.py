"""Whether a critic can still learn, read from a few of its features: in an audit, and every few steps of training."""

import torch

from critica.critics.base import Trainable
from critica.critics.learned import LearnedCritic
from critica.functional.plasticity import dormant_share, effective_rank, weight_norm
from critica.records.arrays import Metric, TokenBatch
from critica.records.evidence import Evidence, HiddenStates

EVERY = 10  # steps between two readings in training: one small forward pass without gradient
ROWS, STATES = 32, 512  # answers that are read, and states of them: bounds the cost whatever the answers' length


@torch.no_grad()
def plasticity(critic: object, batch: TokenBatch, evidence: Evidence) -> tuple[Metric, ...]:
    """Dormant units, rank of the features, norm of the weights; nothing for a critic that is not learned."""
    if not (isinstance(critic, LearnedCritic) and isinstance(critic, Trainable)):
        return ()
    if critic.body is None:
        states = evidence[HiddenStates].states
    else:
        states = critic.body.sampled_states(batch.select(torch.arange(min(ROWS, batch.rows), device=batch.device)))
    critic.shapers.eval()
    features = critic.shaped(states[:: max(1, len(states) // STATES)][:STATES])
    return (
        Metric("critic/dormant_units", dormant_share(features), 1.0),
        Metric("critic/feature_rank", effective_rank(features), 1.0),
        Metric("critic/weight_norm", weight_norm(weight for _, weight in critic.trainable()), 1.0),
    )
