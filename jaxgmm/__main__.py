"""``python -m jaxgmm``: the command line, if its extra is installed."""

import sys


def main() -> None:
    """Run the command line, or say in one line what it needs."""
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("jaxgmm: the command line needs click: pip install 'jaxgmm[cli]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
