"""`python -m gradgen` is the command line."""

from gradgen.cli import main

if __name__ == "__main__":
    main(prog_name="gradgen")
