"""The `treadle` command. Each subcommand is a module that imports little until it runs."""
