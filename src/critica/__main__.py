"""`python -m critica`: the command."""

from critica.cli.main import entry

if __name__ == "__main__":
    entry()
