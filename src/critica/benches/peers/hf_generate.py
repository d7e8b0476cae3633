"""Peer: transformers' `generate` on the shared prompts, sampling at temperature 1, ids in and ids out."""

from pacing import Pace
from task import arguments, prepare, product_error, read_tasks


def main() -> None:
    given = arguments()
    pace = Pace()
    attention = prepare(given.threads, given.fast)
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given.policy, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(given.policy, dtype=torch.float32, attn_implementation=attention)
    model.eval()
    prompts = [task["prompt"] for task in read_tasks(given.tasks)[: given.prompts]]
    encoded = tokenizer([prompt for prompt in prompts for _ in range(given.group)], return_tensors="pt", padding=True)
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    ending = {} if given.natural else {"min_new_tokens": given.max_new}

    def unit() -> int:
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=given.max_new, do_sample=True, temperature=1.0,
                top_k=0, top_p=1.0, **ending,
            )  # fmt: skip
        return int((out[:, ids.shape[1] :] != tokenizer.pad_token_id).sum())

    pace.ready(
        torch=torch.__version__, transformers=transformers.__version__, attention=attention,
        product_error=product_error(),
    )  # fmt: skip
    pace.serve(unit)


if __name__ == "__main__":
    main()
