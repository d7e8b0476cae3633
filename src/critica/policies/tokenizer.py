"""A small byte-level BPE trained on the prompts it will read: phrases become tokens, digits stay single."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def train_tokenizer(
    texts: Iterable[str], vocabulary_size: int = 448, context_tokens: int = 256
) -> "PreTrainedTokenizerFast":
    """Train a BPE on `texts` and wrap it for transformers.

    Every byte is in the alphabet, so any text round-trips. Merges may span blanks (a whole template phrase
    can become one token) but never cross a digit or a double quote, which stay tokens of their own:
    arithmetic is done digit by digit, and a quoted text starts on a token border. Ids 0, 1, 2 are pad, bos,
    eos; encoding prepends bos.

    Raises ValueError when `vocabulary_size` cannot hold the three special tokens and the 256 bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if vocabulary_size < 259:
        raise ValueError(f"vocabulary_size is {vocabulary_size}, but 3 special tokens and 256 bytes need at least 259")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split('"', "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="right",
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
    )
