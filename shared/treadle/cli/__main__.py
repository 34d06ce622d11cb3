"""`python -m treadle.cli`: the `treadle` command without its script."""

from treadle.cli.main import main

if __name__ == "__main__":
    main()
