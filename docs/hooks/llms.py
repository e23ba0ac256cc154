"""`llms.txt`, which lies at the root of the repository, is a file of the site too."""

from pathlib import Path

from mkdocs.structure.files import File


def on_files(files, /, *, config):
    text = Path(config.config_file_path).with_name("llms.txt").read_text(encoding="utf-8")
    files.append(File.generated(config, "llms.txt", content=text))
    return files
