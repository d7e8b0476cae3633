"""Contender: Critica's decoder, from prompt ids to `Sample` records with their log-probs, as a rollout uses it."""

from critica.benches.peers.pacing import Pace
from critica.benches.peers.task import arguments, read_tasks


def main() -> None:
    """Run until told to stop."""
    given = arguments()
    pace = Pace()
    import torch

    from critica.policies.base import SampleLimits, SampleRequest
    from critica.policies.language_model import LanguagePolicy
    from critica.policies.numerics import configure, training_matmuls
    from critica.records.words import Message

    report = configure(given.threads)
    policy = LanguagePolicy.load(given.policy)
    prompts = [task["prompt"] for task in read_tasks(given.tasks)[: given.prompts]]
    encoded = [policy.encode((Message("user", prompt),)) for prompt in prompts]
    limits = SampleLimits(given.max_new, 1.0, 0 if given.natural else given.max_new)
    done = [0]

    def unit() -> int:
        done[0] += 1
        requests = [
            SampleRequest(ids, tuple((done[0], place, i) for i in range(given.group)))
            for place, ids in enumerate(encoded)
        ]
        written = policy.sample(requests, limits, 0)
        return sum(len(sample.token_ids) for row in written for sample in row)

    pace.ready(torch=torch.__version__, packed_linears=report.paths.packed_linears)
    with training_matmuls():  # as inside the loop
        pace.serve(unit)


if __name__ == "__main__":
    main()
