"""What the site adds to the pages of this folder: those of benchmarks/, which stand beside it in the repository."""

from pathlib import Path
from typing import Any

SHOWN = (".md", ".svg", ".png")


def on_files(files: Any, config: Any) -> Any:
    """Every page and picture of benchmarks/ becomes benchmarks/… of the site."""
    from mkdocs.structure.files import File

    root = Path(config["config_file_path"]).parent
    for path in sorted((root / "benchmarks").iterdir()):
        if path.suffix in SHOWN:
            files.append(File(f"benchmarks/{path.name}", str(root), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown: str, page: Any, **rest: Any) -> str:
    """Links out of docs/ into benchmarks/, and back, as they must be where both are one tree."""
    return markdown.replace("../benchmarks/", "benchmarks/").replace("../docs/", "../")
