"""`python -m skinclf` is the command `skinclf`."""

from skinclf.cli import main

if __name__ == "__main__":
    main()
