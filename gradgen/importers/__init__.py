"""Programs from elsewhere: each importer gives what `trace` gives."""
