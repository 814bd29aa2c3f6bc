"""`python -m locum`: the same as the `locum` command."""

from locum.cli import main

if __name__ == "__main__":
    main()
