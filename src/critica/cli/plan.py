"""`critica plan`: what a training run would do and need; no model is loaded."""

from dataclasses import asdict, dataclass

from critica.cli.choice import Choice, resolve
from critica.cli.output import quiet_libraries, show, show_json


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Say what a training run would do and need, without loading a model.

    Prints the resolved config, the batch numbers and what follows from them, parameters, tokens, and memory, how long
    the prompts are and whether all fit, and what was left out of them.

    Examples:
      critica plan dvpo
      critica plan grpo --policy Qwen/Qwen3-0.6B --set sampling.samples_per_prompt=16
      critica plan dvpo --json
    """

    choice: Choice

    # Write JSON to stdout.
    json: bool = False

    def __call__(self) -> int:
        """Resolve, derive, print."""
        recipe = resolve(self.choice)
        from critica.policies.locate import PolicyLoadError
        from critica.recipes.catalogue import PARTS
        from critica.recipes.config import to_tables
        from critica.recipes.notes import provenance_notes
        from critica.recipes.toml import write_toml
        from critica.training.plan import describe, plan
        from critica.training.prompt_lengths import planned_lengths

        quiet_libraries()
        found, tables = plan(recipe), to_tables(recipe, PARTS)
        lengths, warnings, why = None, (), ""
        try:
            lengths, warnings = planned_lengths(recipe)
        except PolicyLoadError as error:  # its size was read, and its tokenizer is not to be had
            why = str(error)
        if self.json:
            prompts = {"prompts": asdict(lengths) if lengths else None, "warnings": list(warnings)}
            show_json(asdict(found) | {"memory_mib": found.memory_mib, "config": tables} | prompts)
        else:
            tables.pop("provenance", None)  # beside the values, as comments
            prompts = lengths.sentence() if lengths else f"not measured: {why}"
            notes = "".join(f"\nnote: {warning}" for warning in warnings)
            show(f"{write_toml(tables, provenance_notes(recipe))}\n{describe(found, recipe, prompts)}{notes}")
        return 0
