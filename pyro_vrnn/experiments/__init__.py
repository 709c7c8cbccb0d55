"""Experiments: a grid of runs over settings and seeds, trained, resumed and put into one table.

`parsing` reads the TOML file into a `plan`, `tasks` makes its runs and checks them, `work` carries out one of them,
`runner` all of them (`processes`: several at once), `costs` times their updates, `summary` and `statistics` compare
them, `table` and `figures` show them.
"""
