"""A folder belongs to one command: the same command goes on in it, another one is refused."""

from pathlib import Path

from critica.store.files import write_whole


def claim_folder(out: Path, name: str, text: str, refusal: type[ValueError]) -> bool:
    """Make the folder with `text` in its file `name`, or make sure that it holds this very text; whether it does.

    Raises `refusal`, with the way out, for a folder that holds something else.
    """
    path = out / name
    if path.is_file():
        if path.read_text() != text:
            raise refusal(
                f"{out} holds another fit (its {name} differs): name a new folder with --out, or give the command that"
                " made it to go on with it"
            )
        return True
    if out.exists() and any(out.iterdir()):
        raise refusal(f"{out} is not empty: name a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    return False
