"""gradgen's version: part of every digest, since it decides what is emitted."""

VERSION = "0.1.0"
